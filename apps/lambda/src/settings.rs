//! A function's settings: environment variables, with the names that `mini-sns serve` gives them.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

/// What every variable of ours begins with.
const PREFIX: &str = "MINI_SNS_";

/// A setting that is missing or makes no sense. The text is one line, and never a secret.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

impl Refused {
    /// Refuses the setting `name` for this reason.
    pub(crate) fn setting(name: &str, reason: impl std::fmt::Display) -> Self {
        Self(format!("{name}: {reason}"))
    }
}

/// The environment, as far as it is of interest here.
#[derive(Clone)]
pub struct Settings(HashMap<String, String>);

impl Settings {
    /// The process' own.
    pub fn of_environment() -> Self {
        Self::of(std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }))
    }

    /// These variables; empty ones count as not set.
    pub fn of(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let ours = |name: &str| name.starts_with(PREFIX) || name.starts_with("AWS_");
        let variables = variables.into_iter();
        Self(variables.filter(|(name, value)| ours(name) && !value.is_empty()).collect())
    }

    /// The variable `name`, where it is set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The variable `name`.
    pub fn required(&self, name: &str) -> Result<&str, Refused> {
        self.get(name).ok_or_else(|| Refused::setting(name, "is not set"))
    }

    /// What the variable `name` says.
    pub fn parsed<T: FromStr>(&self, name: &str) -> Result<T, Refused> {
        let text = self.required(name)?;
        text.parse().map_err(|_| Refused::setting(name, format!("`{text}` does not fit")))
    }

    /// The time that the variable `name` says, such as `2500ms` or `30s`; none when it is not set.
    pub fn span(&self, name: &str) -> Result<Option<Duration>, Refused> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let millis = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
            (Some(millis), _) => millis.parse().ok(),
            (None, Some(secs)) => secs.parse().ok().and_then(|secs: u64| secs.checked_mul(1000)),
            (None, None) => None,
        };
        let span = millis.filter(|millis| *millis > 0).map(Duration::from_millis);
        let refused = || Refused::setting(name, "a time such as 2500ms or 30s is wanted");
        span.map(Some).ok_or_else(refused)
    }

    /// The comma-separated parts of the variable `name`; none when it is not set.
    pub fn list(&self, name: &str) -> Vec<String> {
        let parts = self.get(name).unwrap_or_default().split(',').map(str::trim);
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Settings {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Settings::of(variables.iter().map(owned))
    }

    #[test]
    fn what_is_missing_or_makes_no_sense_is_named() {
        let set = settings(&[("MINI_SNS_ENV_NAME", ""), ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "x")]);
        assert_eq!(
            set.required("MINI_SNS_ENV_NAME").unwrap_err().to_string(),
            "MINI_SNS_ENV_NAME: is not set"
        );
        let refused = set.parsed::<i32>("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").unwrap_err();
        assert_eq!(refused.to_string(), "AWS_LAMBDA_FUNCTION_MEMORY_SIZE: `x` does not fit");
    }

    #[test]
    fn times_have_a_unit() {
        let set = settings(&[("MINI_SNS_A", "2500ms"), ("MINI_SNS_B", "3s"), ("MINI_SNS_C", "3")]);
        assert_eq!(set.span("MINI_SNS_A").unwrap(), Some(Duration::from_millis(2500)));
        assert_eq!(set.span("MINI_SNS_B").unwrap(), Some(Duration::from_secs(3)));
        assert_eq!(set.span("MINI_SNS_D").unwrap(), None);
        assert!(set.span("MINI_SNS_C").is_err());
    }

    #[test]
    fn lists_are_split_at_commas() {
        let set = settings(&[("MINI_SNS_REDIS_URLS", " a, b,,")]);
        assert_eq!(set.list("MINI_SNS_REDIS_URLS"), ["a", "b"]);
        assert!(set.list("MINI_SNS_CORS_ORIGINS").is_empty());
    }
}
