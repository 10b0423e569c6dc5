//! Tables as maps, the kinds of write, and queries of one table with simple conditions. Supports the guards, the keyed
//! reads and the simple lists, recognised by their SQLite text.

use crate::rows::{Check, Column, Table, Value, WriteShape};
use crate::tables::TABLES;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Rows of every table, by key.
#[derive(Clone)]
pub struct Rows(BTreeMap<&'static str, BTreeMap<Vec<Part>, Vec<Value>>>);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(i64),
    Text(String),
}

impl Rows {
    /// Empty tables.
    pub fn new() -> Self {
        Self(TABLES.iter().map(|table| (table.name, BTreeMap::new())).collect())
    }

    /// Writes exactly one row that belongs to its owner; kinds of write without a fixed number of rows write all of
    /// them.
    pub fn write(&mut self, kind: WriteShape, row: &[Value]) -> Result<(), String> {
        let (table, columns) = (kind.table(), kind.columns());
        // The secrets of webhooks, which are no part of the rows that are read.
        if !TABLES.contains(&table) {
            return Ok(());
        }
        if let WriteShape::UpdateAll { by, .. } | WriteShape::DeleteAll { by, .. } = kind {
            let rows = self.0.entry(table.name).or_default();
            let found = |old: &Vec<Value>| old[at(table.columns, by)] == row[0];
            match kind {
                WriteShape::DeleteAll { .. } => rows.retain(|_, old| !found(old)),
                _ => rows.values_mut().filter(|old| found(old)).for_each(|old| set(table, old, &columns, row)),
            }
            return Ok(());
        }
        let key = table.key.iter().map(|name| part(&row[at(&columns, name)])).collect::<Vec<_>>();
        let rows = self.0.entry(table.name).or_default();
        let there = rows.get_mut(&key);
        if let (WriteShape::Update { .. } | WriteShape::Delete(_), Some(old), Some(owner)) =
            (kind, &there, table.owner())
            && old[at(table.columns, owner)] != row[at(&columns, owner)]
        {
            return Err(format!("a row of {} belongs to another tenant", table.name));
        }
        match (kind, there) {
            (WriteShape::Insert(_) | WriteShape::Append(_), None) => drop(rows.insert(key, row.to_vec())),
            (WriteShape::Delete(_), Some(_)) => drop(rows.remove(&key)),
            (WriteShape::Update { check, .. }, Some(old)) => {
                let (was, is) = (|name| &old[at(table.columns, name)], |name| &row[at(&columns, name)]);
                let holds = match check {
                    Check::None => true,
                    Check::Same(name) => was(name) == is(name),
                    Check::OneLess(name) => {
                        matches!((was(name), is(name)), (Value::Int(was), Value::Int(is)) if was + 1 == *is)
                    }
                };
                if !holds {
                    return Err(format!("{check:?} of {} does not hold", table.name));
                }
                set(table, old, &columns, row);
            }
            (kind, there) => return Err(format!("{kind:?}: row exists: {}", there.is_some())),
        }
        Ok(())
    }

    /// `SELECT … FROM table WHERE … AND … ORDER BY column DESC LIMIT n`.
    pub fn query(&self, text: &str, params: &[Value]) -> Result<Vec<Vec<Value>>, String> {
        let unknown = || format!("the model does not support {text}");
        let (select, rest) =
            text.strip_prefix("SELECT ").and_then(|rest| rest.split_once(" FROM ")).ok_or_else(unknown)?;
        let (rest, order) = rest.split_once(" ORDER BY ").map_or((rest, None), |(rest, order)| (rest, Some(order)));
        let (name, conditions) =
            rest.split_once(" WHERE ").map_or((rest, None), |(name, conditions)| (name, Some(conditions)));
        let table = TABLES.iter().find(|table| table.name == name).ok_or_else(unknown)?;
        let mut found = Vec::new();
        for row in self.0[table.name].values() {
            let mut holds = true;
            for condition in conditions.into_iter().flat_map(|all| all.split(" AND ")) {
                holds &= self.holds(table, row, condition, params).ok_or_else(unknown)?;
            }
            if holds {
                found.push(row);
            }
        }
        if let Some(order) = order {
            let (by, limit) = order.split_once(" LIMIT ").ok_or_else(unknown)?;
            let (by, descending) = by.strip_suffix(" DESC").map_or((by, false), |by| (by, true));
            found.sort_by(|a, b| compare(value(table, a, by), value(table, b, by)).unwrap_or(Ordering::Equal));
            if descending {
                found.reverse();
            }
            let limit = limit.parse().ok().or_else(|| match param(limit, params) {
                Some(Value::Int(limit)) => usize::try_from(*limit).ok(),
                _ => None,
            });
            found.truncate(limit.ok_or_else(unknown)?);
        }
        let pick = |row: &Vec<Value>, column: &str| match column.strip_suffix(" IS NULL") {
            Some(column) => Value::Bool(*value(table, row, column) == Value::Null),
            None => value(table, row, column).clone(),
        };
        Ok(found.iter().map(|row| select.split(", ").map(|column| pick(row, column)).collect()).collect())
    }

    /// Returns `None` if the form of the condition is unknown.
    fn holds(&self, table: &Table, row: &[Value], condition: &str, params: &[Value]) -> Option<bool> {
        if let Some(column) = condition.strip_suffix(" IS NULL") {
            return Some(*value(table, row, column) == Value::Null);
        }
        if let Some((column, list)) = condition.split_once(" IN ") {
            let list = list.strip_prefix('(')?.strip_suffix(')')?;
            let value = value(table, row, column);
            return match value {
                _ if list.starts_with("SELECT ") => Some(self.query(list, params).ok()?.iter().any(|r| r[0] == *value)),
                Value::Text(text) => Some(list.split(", ").any(|word| word.trim_matches('\'') == text)),
                _ => None,
            };
        }
        let [column, operator, parameter] = condition.split(' ').collect::<Vec<_>>().try_into().ok()?;
        let Some(order) = compare(value(table, row, column), param(parameter, params)?) else { return Some(false) };
        match operator {
            "=" => Some(order.is_eq()),
            "<" => Some(order.is_lt()),
            ">" => Some(order.is_gt()),
            "<=" => Some(order.is_le()),
            ">=" => Some(order.is_ge()),
            _ => None,
        }
    }
}

/// Returns the parameter that `?2` or `(?2)` names.
fn param<'a>(text: &str, params: &'a [Value]) -> Option<&'a Value> {
    let number: usize = text.trim_matches(['(', ')']).strip_prefix('?')?.parse().ok()?;
    params.get(number.checked_sub(1)?)
}

fn set(table: &Table, old: &mut [Value], columns: &[Column], row: &[Value]) {
    for (column, value) in columns.iter().zip(row) {
        old[at(table.columns, column.name)] = value.clone();
    }
}

fn part(value: &Value) -> Part {
    match value {
        Value::Int(number) => Part::Number(*number),
        Value::Text(text) => Part::Text(text.clone()),
        other => Part::Text(format!("{other:?}")),
    }
}

/// For an unknown column, returns the index after the last column. Indexing with it panics and fails the test.
fn at(columns: &[Column], name: &str) -> usize {
    columns.iter().position(|column| column.name == name).unwrap_or(columns.len())
}

fn value<'a>(table: &Table, row: &'a [Value], name: &str) -> &'a Value {
    &row[at(table.columns, name)]
}

/// NULL compares with nothing.
fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (Value::Time(a), Value::Time(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        _ => None,
    }
}
