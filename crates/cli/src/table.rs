//! Aligned columns without borders, for people and for `awk`.

use crate::terminal::{Colour, plain};
use std::borrow::Cow;
use unicode_width::UnicodeWidthStr;

/// Spaces between columns.
const GAP: usize = 2;
/// Maximum width of a column. A longer cell exceeds it only in its own row.
const MAX_CELL_WIDTH: usize = 60;

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    text: String,
    colour: Option<Colour>,
}

impl Cell {
    /// Creates a cell. An empty text is shown as `-`, so that every row has the same number of fields.
    pub fn new(text: impl Into<String>) -> Self {
        let text: String = text.into();
        let text = plain(&text).replace(['\n', '\t'], " ");
        Self { text: if text.is_empty() { "-".to_owned() } else { text }, colour: None }
    }

    /// Creates a cell from an optional text.
    pub fn maybe(text: Option<impl Into<String>>) -> Self {
        text.map_or_else(|| Self::new(""), Self::new)
    }

    /// Sets the colour.
    #[must_use]
    pub fn coloured(mut self, colour: Option<Colour>) -> Self {
        self.colour = colour;
        self
    }

    /// Creates a cell with a state of a tenant, job or step in its colour.
    pub fn state(text: Option<&str>) -> Self {
        let colour = text.and_then(state_colour);
        Self::maybe(text).coloured(colour)
    }

    fn width(&self) -> usize {
        self.text.width()
    }
}

/// Returns the colour of a state of a tenant, job or step.
pub fn state_colour(state: &str) -> Option<Colour> {
    match state {
        "Active" | "completed" | "done" => Some(Colour::Green),
        "Suspended" | "running" | "queued" => Some(Colour::Yellow),
        "failed" => Some(Colour::Red),
        "Draft" | "Archived" | "Purged" | "pending" => Some(Colour::Dim),
        _ => None,
    }
}

/// A table that is written page by page. Column widths can grow from page to page, but never shrink.
pub struct Table {
    titles: Vec<Cow<'static, str>>,
    widths: Vec<usize>,
    titles_written: bool,
    colours: bool,
}

impl Table {
    /// Creates a table with titles.
    pub fn new(titles: impl IntoIterator<Item = impl Into<Cow<'static, str>>>, colours: bool) -> Self {
        let titles: Vec<_> = titles.into_iter().map(Into::into).collect();
        let widths = titles.iter().map(|title| title.width()).collect();
        Self { titles, widths, titles_written: false, colours }
    }

    /// Creates a table without titles, such as a list of names and values.
    pub fn untitled(columns: usize, colours: bool) -> Self {
        Self { titles: Vec::new(), widths: vec![0; columns], titles_written: true, colours }
    }

    /// Renders more rows. The titles are rendered before the first row.
    pub fn render(&mut self, rows: &[Vec<Cell>]) -> String {
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width().min(MAX_CELL_WIDTH));
            }
        }
        let mut text = String::new();
        if !self.titles_written {
            self.titles_written = true;
            let titles: Vec<_> =
                self.titles.iter().map(|title| Cell::new(title.clone()).coloured(Some(Colour::Dim))).collect();
            self.line(&titles, &mut text);
        }
        for row in rows {
            self.line(row, &mut text);
        }
        text
    }

    fn line(&self, row: &[Cell], text: &mut String) {
        for (index, cell) in row.iter().enumerate() {
            let painted = cell.colour.map_or(Cow::Borrowed(cell.text.as_str()), |c| c.paint(&cell.text, self.colours));
            text.push_str(&painted);
            // No padding after the last cell, so that lines have no trailing spaces.
            if index + 1 < row.len() {
                let width = self.widths.get(index).copied().unwrap_or_default();
                text.push_str(&" ".repeat(width.saturating_sub(cell.width()) + GAP));
            }
        }
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: [&str; 3]) -> Vec<Cell> {
        cells.map(Cell::new).to_vec()
    }

    #[test]
    fn must_align_by_display_width() {
        let mut table = Table::new(["NAME", "STATE", "REGION"], false);
        let text = table.render(&[row(["acme-eu", "Active", "eu-west-1"]), row(["客户", "", "a\nb\x1b"])]);
        assert_eq!(
            text,
            "NAME     STATE   REGION\n\
             acme-eu  Active  eu-west-1\n\
             客户     -       a b\u{fffd}\n"
        );
    }

    #[test]
    fn must_write_titles_once_and_keep_widths_on_the_next_page() {
        let mut table = Table::new(["A", "B", "C"], false);
        assert_eq!(table.render(&[row(["long-name", "x", "y"])]), "A          B  C\nlong-name  x  y\n");
        assert_eq!(table.render(&[row(["s", "x", "y"])]), "s          x  y\n");
    }

    #[test]
    fn must_not_let_one_long_cell_widen_the_column() {
        let mut table = Table::new(["A", "B", "C"], false);
        let long = "x".repeat(80);
        let text = table.render(&[row([&long, "1", "2"]), row(["s", "1", "2"])]);
        assert_eq!(text.lines().nth(2).map(str::len), Some(60 + 2 + 1 + 2 + 1));
    }

    #[test]
    fn must_colour_states_without_moving_columns() {
        let mut table = Table::new(["STATE", "X"], true);
        let text = table.render(&[vec![Cell::state(Some("Active")), Cell::new("1")]]);
        assert_eq!(text, "\x1b[2mSTATE\x1b[0m   \x1b[2mX\x1b[0m\n\x1b[32mActive\x1b[0m  1\n");
    }
}
