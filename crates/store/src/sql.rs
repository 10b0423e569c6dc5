//! Statements that are put together from conditions, for lists: one text for both databases but for how they write a
//! parameter.

use crate::rows::Type;
use crate::rows::{Dialect, Value, parameter_type};
use tenancy_core::scope::Scope;

/// A statement with its parameters.
#[derive(Debug, Clone)]
pub struct Sql {
    dialect: Dialect,
    /// Its text.
    pub text: String,
    /// Its parameters, in order of their numbers.
    pub params: Vec<Value>,
    /// After so many bytes of rows no more are read.
    pub most_bytes: usize,
    conditions: usize,
}

impl Sql {
    /// Begins with `text`.
    pub fn new(dialect: Dialect, text: impl Into<String>) -> Self {
        Self { dialect, text: text.into(), params: Vec::new(), most_bytes: usize::MAX, conditions: 0 }
    }

    /// For which database.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Adds a parameter, and says how it is written.
    pub fn bind(&mut self, ty: Type, value: Value) -> String {
        self.params.push(value);
        let parameter = self.dialect.parameter(self.params.len());
        match self.dialect {
            Dialect::Sqlite => parameter,
            Dialect::Postgres => format!("{parameter}::{}", parameter_type(ty)),
        }
    }

    /// Adds a condition whose `{}` is the value, unless there is none.
    pub fn and<T: crate::rows::Field>(&mut self, condition: &str, value: Option<T>) -> &mut Self {
        if let Some(value) = value {
            let parameter = self.bind(T::TYPE, value.put());
            self.also(&condition.replace("{}", &parameter));
        }
        self
    }

    /// Adds that the tenant named by `column` lies within a scope.
    pub fn tenant_within(&mut self, column: &str, scope: &Scope) -> &mut Self {
        match scope {
            Scope::All => self,
            Scope::Organization(id) => {
                let inside = "IN (SELECT tenant_id FROM tenants WHERE organization_id = {})";
                self.and(&format!("{column} {inside}"), Some(id.clone()))
            }
            Scope::Tenant(id) => self.and(&format!("{column} = {{}}"), Some(id.clone())),
        }
    }

    /// Adds a condition.
    pub fn also(&mut self, condition: &str) -> &mut Self {
        self.text.push_str(if self.conditions == 0 { " WHERE " } else { " AND " });
        self.text.push_str(condition);
        self.conditions += 1;
        self
    }

    /// A text in small letters, of which A to Z have some: for all others, every database and locale has its own.
    pub fn lowered(&self, text: &str) -> String {
        match self.dialect {
            Dialect::Sqlite => format!("lower({text})"),
            Dialect::Postgres => format!("lower({text} COLLATE \"C\")"),
        }
    }

    /// Adds order and limit.
    pub fn order(&mut self, order: &str, limit: usize) -> &mut Self {
        let limit = self.bind(Type::Int, Value::Int(i64::try_from(limit).unwrap_or(i64::MAX)));
        self.text.push_str(&format!(" ORDER BY {order} LIMIT {limit}"));
        self
    }
}
