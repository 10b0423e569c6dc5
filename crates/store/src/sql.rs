//! Statements that are composed of conditions, for lists. The text differs between the databases only in how a
//! parameter is written.

use crate::rows::Type;
use crate::rows::{Dialect, Value, parameter_type};
use tenancy_core::scope::Scope;

/// Parameter of a statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    /// One value.
    One(Value),
    /// The values of a column of many rows, as an array. Only PostgreSQL has arrays.
    Column(Type, Vec<Value>),
}

/// Statement with its parameters.
#[derive(Debug, Clone)]
pub struct Sql {
    dialect: Dialect,
    /// Text of the statement.
    pub text: String,
    /// Parameters, in order of their numbers.
    pub params: Vec<Bound>,
    /// Maximum size of the rows to read, in bytes. Reading stops after the row that reaches it.
    pub most_bytes: usize,
    /// Whether PostgreSQL keeps the statement prepared, and its plan. For statements that run often and whose text has few
    /// variants: planning a read of the log's months takes longer than the read.
    pub is_kept: bool,
    conditions: usize,
}

impl Sql {
    /// Creates a statement that begins with `text`.
    pub fn new(dialect: Dialect, text: impl Into<String>) -> Self {
        Self { dialect, text: text.into(), params: Vec::new(), most_bytes: usize::MAX, is_kept: false, conditions: 0 }
    }

    /// Creates an empty statement that is kept prepared.
    pub fn kept(dialect: Dialect) -> Self {
        Self { is_kept: true, ..Self::new(dialect, "") }
    }

    /// Database that the statement is for.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Adds a parameter and returns its placeholder.
    pub fn bind(&mut self, ty: Type, value: Value) -> String {
        self.params.push(Bound::One(value));
        let parameter = self.dialect.parameter(self.params.len());
        match self.dialect {
            Dialect::Sqlite => parameter,
            Dialect::Postgres => format!("{parameter}::{}", parameter_type(ty)),
        }
    }

    /// Adds a column of many rows as a parameter and returns its placeholder. Only for PostgreSQL.
    pub fn bind_column(&mut self, ty: Type, values: Vec<Value>) -> String {
        self.params.push(Bound::Column(ty, values));
        format!("{}::{}[]", self.dialect.parameter(self.params.len()), parameter_type(ty))
    }

    /// Adds a condition whose `{}` is the value. Does nothing if the value is `None`.
    pub fn and<T: crate::rows::Field>(&mut self, condition: &str, value: Option<T>) -> &mut Self {
        if let Some(value) = value {
            let parameter = self.bind(T::TYPE, value.put());
            self.also(&condition.replace("{}", &parameter));
        }
        self
    }

    /// Adds the condition that the tenant in `column` lies within a scope.
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

    /// Adds the condition that a column has one of the values. No values add no condition.
    pub fn one_of<T: crate::rows::Field + Clone>(&mut self, column: &str, values: &[T]) -> &mut Self {
        match values {
            [] => self,
            // A plain comparison: its plans are those of a list by one value.
            [value] => self.and(&format!("{column} = {{}}"), Some(value.clone())),
            values => {
                let bound: Vec<_> = values.iter().map(|value| self.bind(T::TYPE, value.clone().put())).collect();
                self.also(&format!("{column} IN ({})", bound.join(", ")))
            }
        }
    }

    /// Adds a condition.
    pub fn also(&mut self, condition: &str) -> &mut Self {
        self.text.push_str(if self.conditions == 0 { " WHERE " } else { " AND " });
        self.text.push_str(condition);
        self.conditions += 1;
        self
    }

    /// Adds order and limit.
    pub fn order(&mut self, order: &str, limit: usize) -> &mut Self {
        let limit = self.bind(Type::Int, Value::Int(i64::try_from(limit).unwrap_or(i64::MAX)));
        self.text.push_str(&format!(" ORDER BY {order} LIMIT {limit}"));
        self
    }
}
