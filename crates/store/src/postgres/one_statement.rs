//! Several writes as one statement: each write but the last is part of its `WITH`.
//!
//! A statement has a fixed cost: the server starts an executor and sends an answer, and a thread wakes up for it. For
//! the few rows of a batch this costs as much as writing them. The parts see the data from before the statement, and
//! not each other's rows; so only independent writes belong in one statement.

use super::connection::Param;

/// Writes that are sent together.
#[derive(Default)]
pub struct OneStatement<'a> {
    /// Text of the statement so far.
    pub sql: String,
    /// Parameters of the statement.
    pub params: Vec<Param<'a>>,
    last: usize,
    parts: usize,
}

impl<'a> OneStatement<'a> {
    /// Creates a statement of one write.
    pub fn of(sql: &str, params: Vec<Param<'a>>) -> Self {
        let mut one = Self::default();
        one.and(sql, params);
        one
    }

    /// Appends a write whose parameters are numbered from 1.
    pub fn and(&mut self, sql: &str, params: Vec<Param<'a>>) {
        if self.parts > 0 {
            debug_assert!(!sql.starts_with("WITH"), "a statement with parts of its own goes alone: {sql}");
            let before = if self.parts == 1 { "WITH " } else { ", " };
            self.sql.insert_str(self.last, &format!("{before}part_{} AS (", self.parts));
            self.sql.push_str(") ");
        }
        self.parts += 1;
        self.last = self.sql.len();
        self.sql.push_str(&renumbered(sql, self.params.len()));
        self.params.extend(params);
    }
}

/// Returns the statement with the numbers of its parameters increased.
pub fn renumbered(sql: &str, by: usize) -> String {
    let mut parts = sql.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        match part[..digits].parse::<usize>() {
            Ok(number) => text.push_str(&format!("${}{}", number + by, &part[digits..])),
            Err(_) => text.push_str(&format!("${part}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::connection::number;

    #[test]
    fn must_number_parameters_through() {
        let mut one = OneStatement::of("INSERT a $1", vec![number(1)]);
        assert_eq!(one.sql, "INSERT a $1");
        one.and("INSERT b $2, $1, '$.a'", vec![number(2), number(3)]);
        one.and("INSERT c $1", vec![number(4)]);
        assert_eq!(one.sql, "WITH part_1 AS (INSERT a $1) , part_2 AS (INSERT b $3, $2, '$.a') INSERT c $4");
        assert_eq!(one.params.len(), 4);
    }
}
