//! `-o`: prints resources as a table, JSON, YAML or names.

use crate::failure::Failure;
use crate::table::{Cell, Table};
use crate::terminal::{colours, say, write, write_data};
use crate::wire::Received;
use crate::yaml;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::Value;

/// Output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub enum Format {
    /// Table
    #[default]
    Table,
    /// Table with more columns
    Wide,
    /// JSON, with all fields
    Json,
    /// YAML, with all fields
    Yaml,
    /// Names only, one per line
    Name,
}

/// The `-o` option of commands that print resources.
#[derive(Args, Debug, Clone, Copy)]
pub struct Output {
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output: Format,
}

/// A column of a table.
pub struct Column<T> {
    /// Title.
    pub title: &'static str,
    /// Tables that show the column.
    pub shown: Shown,
    /// Returns the cell of a resource.
    pub cell: fn(&T, Timestamp) -> Cell,
}

/// Tables that show a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Both tables.
    Always,
    /// Only with `-o wide`.
    Wide,
    /// Only without `-o wide`, which shows a longer form.
    Narrow,
}

/// A kind of resource and how to print it.
pub struct Kind<T: 'static> {
    /// Plural name.
    pub plural: &'static str,
    /// Returns the name for `-o name`, which other commands accept.
    pub name: fn(&T) -> String,
    /// Columns of the table.
    pub columns: &'static [Column<T>],
}

/// Prints resources page by page.
pub struct Printer<'k, T: 'static> {
    kind: &'k Kind<T>,
    format: Format,
    table: Table,
    /// Rows that are not written yet.
    rows: Vec<Vec<Cell>>,
    is_flushed: bool,
    printed: usize,
}

/// Maximum number of rows that are kept so that the table is aligned over all pages. Rows behind them are written page by
/// page.
const MAX_ALIGNED_ROWS: usize = 2_000;

impl<'k, T> Printer<'k, T> {
    /// Creates a printer.
    pub fn new(kind: &'k Kind<T>, format: Format) -> Self {
        let titles: Vec<_> = shown(kind, format).map(|column| column.title).collect();
        Self { kind, format, table: Table::new(titles, colours()), rows: Vec::new(), is_flushed: false, printed: 0 }
    }

    /// Writes the rows so far, and each later page at once.
    ///
    /// # Errors
    /// Fails if the output cannot be written.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.is_flushed = true;
        match std::mem::take(&mut self.rows) {
            rows if rows.is_empty() => Ok(()),
            rows => write(&self.table.render(&rows)),
        }
    }

    /// Prints one page. Rows of a table are kept until the list ends, up to a maximum, so that they are aligned.
    ///
    /// # Errors
    /// Fails if the output cannot be written.
    pub fn page(&mut self, items: &[Received<T>]) -> Result<(), Failure> {
        let items: Vec<_> = items.iter().map(|item| (&item.value, &item.raw)).collect();
        self.items(&items)
    }

    fn items(&mut self, items: &[(&T, &Value)]) -> Result<(), Failure> {
        if items.is_empty() {
            return Ok(());
        }
        if matches!(self.format, Format::Table | Format::Wide) {
            self.printed += items.len();
            self.rows.extend(self.rows_of(items, Timestamp::now()));
            let is_full = self.is_flushed || self.rows.len() >= MAX_ALIGNED_ROWS;
            return if is_full { self.flush() } else { Ok(()) };
        }
        let text = self.render(items, Timestamp::now())?;
        self.printed += items.len();
        match self.format {
            Format::Json | Format::Yaml => write_data(&text),
            Format::Table | Format::Wide | Format::Name => write(&text),
        }
    }

    fn rows_of(&self, items: &[(&T, &Value)], now: Timestamp) -> Vec<Vec<Cell>> {
        let row = |(item, _): &(&T, _)| shown(self.kind, self.format).map(|column| (column.cell)(item, now)).collect();
        items.iter().map(row).collect()
    }

    fn render(&mut self, items: &[(&T, &Value)], now: Timestamp) -> Result<String, Failure> {
        let mut text = String::new();
        match self.format {
            Format::Table | Format::Wide => {
                let rows = self.rows_of(items, now);
                text = self.table.render(&rows);
            }
            Format::Name => items.iter().for_each(|(item, _)| text.push_str(&format!("{}\n", (self.kind.name)(item)))),
            Format::Yaml => {
                for (index, (_, item)) in items.iter().enumerate() {
                    text.push_str(if self.printed + index > 0 { "---\n" } else { "" });
                    text.push_str(&yaml::yaml(item)?);
                }
            }
            Format::Json => {
                for (index, (_, item)) in items.iter().enumerate() {
                    text.push_str(if self.printed + index > 0 { ",\n" } else { "[\n" });
                    let lines = yaml::json(item)?;
                    let lines: Vec<_> = lines.lines().map(|line| format!("  {line}")).collect();
                    text.push_str(&lines.join("\n"));
                }
            }
        }
        Ok(text)
    }

    /// Ends the list: closes the JSON array, and prints a note if the list is empty.
    ///
    /// # Errors
    /// Fails if the output cannot be written.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.flush()?;
        match self.format {
            Format::Json if self.printed == 0 => say("[]"),
            Format::Json => say("\n]"),
            Format::Table | Format::Wide if self.printed == 0 => {
                crate::terminal::remark(&format!("no {} found", self.kind.plural));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn shown<T>(kind: &Kind<T>, format: Format) -> impl Iterator<Item = &'static Column<T>> + use<T> {
    let not = if format == Format::Wide { Shown::Narrow } else { Shown::Wide };
    kind.columns.iter().filter(move |column| column.shown != not)
}

/// Prints one resource.
///
/// # Errors
/// Fails if the output cannot be written.
pub fn one<T>(kind: &Kind<T>, item: &Received<T>, format: Format) -> Result<(), Failure> {
    one_of(kind, &item.value, &item.raw, format)
}

/// Prints one resource whose JSON contains more than `T`.
///
/// # Errors
/// Fails if the output cannot be written.
pub fn one_of<T>(kind: &Kind<T>, item: &T, raw: &Value, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => write_data(&yaml::json(raw)?),
        _ => {
            let mut printer = Printer::new(kind, format);
            printer.items(&[(item, raw)])?;
            printer.finish()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(serde::Deserialize)]
    struct Thing {
        id: String,
        note: Option<String>,
    }

    const THINGS: Kind<Thing> = Kind {
        plural: "things",
        name: |item| item.id.clone(),
        columns: &[
            Column { title: "NAME", shown: Shown::Always, cell: |item, _| Cell::new(&item.id) },
            Column { title: "NOTE", shown: Shown::Wide, cell: |item, _| Cell::maybe(item.note.as_deref()) },
        ],
    };

    fn rendered(format: Format) -> String {
        let mut printer = Printer::new(&THINGS, format);
        let mut text = String::new();
        for page in [[json!({"id": "a", "note": "x"})], [json!({"id": "b"})]] {
            let items: Vec<_> = page.into_iter().map(|raw| Received::of(raw).expect("a thing")).collect();
            let items: Vec<_> = items.iter().map(|item: &Received<Thing>| (&item.value, &item.raw)).collect();
            text.push_str(&printer.render(&items, Timestamp::UNIX_EPOCH).expect("rendered"));
            printer.printed += items.len();
        }
        text
    }

    #[test]
    fn must_align_the_rows_of_all_pages() {
        let mut printer = Printer::new(&THINGS, Format::Wide);
        for raw in [json!({"id": "a", "note": "x"}), json!({"id": "a-long-name", "note": "y"})] {
            let item = Received::of(raw).expect("a thing");
            printer.page(&[item]).expect("kept");
        }
        let rows = std::mem::take(&mut printer.rows);
        assert_eq!(printer.table.render(&rows), "NAME         NOTE\na            x\na-long-name  y\n");
    }

    #[test]
    fn must_write_the_same_resources_in_every_format() {
        assert_eq!(rendered(Format::Table), "NAME\na\nb\n");
        assert_eq!(rendered(Format::Wide), "NAME  NOTE\na     x\nb     -\n");
        assert_eq!(rendered(Format::Name), "a\nb\n");
        assert_eq!(rendered(Format::Yaml), "id: a\nnote: x\n---\nid: b\n");
        let list: Value = serde_json::from_str(&format!("{}\n]", rendered(Format::Json))).expect("JSON");
        assert_eq!(list, json!([{"id": "a", "note": "x"}, {"id": "b"}]));
    }
}
