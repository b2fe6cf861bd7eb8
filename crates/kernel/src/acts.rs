//! What operators did, to whom and why: a row in the commit of each act, which nothing changes or
//! removes.
//!
//! | partition | sort key | holds |
//! |---|---|---|
//! | `acts` | when | the act |

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::table::{Condition, Item, Key, Query, Table, TableError, Write};
use crate::{Clock, Ids, Problem, Time};

const PARTITION: &str = "acts";
/// Characters of an operator's name, at most.
const OPERATOR_CHARACTERS_MAX: usize = 100;
/// Characters of a reason, at most.
const REASON_CHARACTERS_MAX: usize = 500;

/// An act's place among the acts: ids given later are greater.
pub type ActId = Ulid;

/// What an operator asks for beside the act itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Order {
    /// Who acts.
    pub operator: String,
    /// Why.
    pub reason: String,
    /// Whether only to tell what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// An operator's act.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Act {
    /// Its place among the acts.
    pub id: ActId,
    /// When.
    pub at: Time,
    /// Who did it.
    pub operator: String,
    /// What: `suspend`.
    pub act: String,
    /// To what: the id of a user, a post or a report.
    pub subject: String,
    /// Why.
    pub reason: String,
}

impl Order {
    /// The order, without spaces around its texts; 422 without a name or a reason, or where one is
    /// too long.
    pub fn checked(self) -> Result<Self, Problem> {
        let Self { operator, reason, dry_run } = self;
        let text = |field: &str, text: String, max: usize| {
            let text = text.trim();
            if (1..=max).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
                return Ok(text.to_owned());
            }
            let message = format!("1 to {max} characters, none of them a control character.");
            Err(Problem::invalid(field, message))
        };
        let operator = text("operator", operator, OPERATOR_CHARACTERS_MAX)?;
        let reason = text("reason", reason, REASON_CHARACTERS_MAX)?;
        Ok(Self { operator, reason, dry_run })
    }

    /// The act that follows from the order.
    pub fn act(&self, ids: &dyn Ids, clock: &dyn Clock, act: &str, subject: String) -> Act {
        Act {
            id: ids.ulid(),
            at: clock.now(),
            operator: self.operator.clone(),
            act: act.to_owned(),
            subject,
            reason: self.reason.clone(),
        }
    }
}

/// The row of an act; it belongs in the act's commit.
pub fn write(act: &Act) -> Write {
    Write::put_json(Key::new(PARTITION, act.id.to_string()), act).when(Condition::Absent)
}

/// Acts older than `before`, newest first.
pub async fn list(
    table: &dyn Table,
    before: Option<ActId>,
    limit: usize,
) -> Result<Vec<Act>, TableError> {
    let query = Query::all(PARTITION, limit).descending();
    let query = match before {
        Some(before) => query.below(before.to_string()),
        None => query,
    };
    table.query(query).await?.items.iter().map(Item::json).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_names_who_and_why() {
        let order = |operator: &str, reason: &str| {
            let (operator, reason) = (operator.to_owned(), reason.to_owned());
            Order { operator, reason, dry_run: false }.checked()
        };
        assert_eq!(order(" ann ", " spam ").unwrap(), order("ann", "spam").unwrap());
        let long = "x".repeat(501);
        for (operator, reason, field) in [
            ("", "spam", "operator"),
            (" ", "spam", "operator"),
            ("ann", "", "reason"),
            ("ann", "a\nb", "reason"),
            ("ann", long.as_str(), "reason"),
        ] {
            assert_eq!(order(operator, reason).unwrap_err().errors[0].field, field);
        }
    }
}
