//! What a template says in one environment: parameters, mappings and conditions put in, so that
//! rules and tests look at values. What only a deployment knows stays as it is written.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The environments.
pub(crate) const ENVIRONMENTS: [&str; 3] = ["dev", "staging", "prod"];

/// What CloudFormation itself would put in.
const PSEUDO: [(&str, &str); 4] = [
    ("AWS::AccountId", "123456789012"),
    ("AWS::Partition", "aws"),
    ("AWS::Region", "eu-west-1"),
    ("AWS::URLSuffix", "amazonaws.com"),
];

/// A template with what is known put in.
struct Known<'a> {
    template: &'a Value,
    values: BTreeMap<String, Value>,
}

/// The template with these parameters, and the defaults of the others. Resources and outputs whose
/// condition is not met are gone.
pub(crate) fn resolved(template: &Value, parameters: &[(&str, &str)]) -> Value {
    let mut values: BTreeMap<String, Value> =
        PSEUDO.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    for (name, declared) in template["Parameters"].as_object().into_iter().flatten() {
        let given = parameters.iter().find(|(other, _)| other == name);
        let value = given.map_or_else(|| declared["Default"].clone(), |(_, value)| json!(value));
        values.insert(name.clone(), value);
    }
    let known = Known { template, values };
    let mut made = template.clone();
    for section in ["Resources", "Outputs"] {
        let all = template[section].as_object().cloned().unwrap_or_default();
        let met = all.into_iter().filter(|(_, it)| known.is_met(&it["Condition"]));
        let put_in = met.map(|(name, it)| (name, known.put_in(&it)));
        made[section] = Value::Object(put_in.collect());
    }
    made
}

impl Known<'_> {
    fn is_met(&self, name: &Value) -> bool {
        name.as_str().is_none_or(|name| self.holds(&self.template["Conditions"][name]))
    }

    fn holds(&self, condition: &Value) -> bool {
        let Some((function, operand)) = only(condition) else { return false };
        let all = || operand.as_array().map(Vec::as_slice).unwrap_or_default();
        match function {
            "Condition" => self.is_met(operand),
            "Fn::Equals" => match all() {
                [one, other] => self.put_in(one) == self.put_in(other),
                _ => false,
            },
            "Fn::Not" => !self.holds(&operand[0]),
            "Fn::And" => all().iter().all(|it| self.holds(it)),
            "Fn::Or" => all().iter().any(|it| self.holds(it)),
            _ => false,
        }
    }

    fn put_in(&self, value: &Value) -> Value {
        if let Some((function, operand)) = only(value)
            && let Some(known) = self.called(function, operand)
        {
            return known;
        }
        match value {
            Value::Array(all) => {
                all.iter().map(|it| self.put_in(it)).filter(|it| !is_no_value(it)).collect()
            }
            Value::Object(all) => {
                let all = all.iter().map(|(name, it)| (name.clone(), self.put_in(it)));
                Value::Object(all.filter(|(_, it)| !is_no_value(it)).collect::<Map<_, _>>())
            }
            other => other.clone(),
        }
    }

    /// What a function comes to, where that is known.
    fn called(&self, function: &str, operand: &Value) -> Option<Value> {
        match function {
            "Ref" => self.values.get(operand.as_str()?).cloned(),
            "Fn::FindInMap" => {
                let key = |index: usize| self.put_in(&operand[index]).as_str().map(str::to_owned);
                let found = &self.template["Mappings"][key(0)?][key(1)?][key(2)?];
                (!found.is_null()).then(|| found.clone())
            }
            "Fn::If" => {
                let chosen = if self.is_met(&operand[0]) { 1 } else { 2 };
                Some(self.put_in(&operand[chosen]))
            }
            "Fn::Sub" => Some(self.substituted(operand)),
            _ => None,
        }
    }

    /// `${...}` of what is known put in; other names stay, in braces.
    fn substituted(&self, operand: &Value) -> Value {
        let (text, own) = match operand {
            Value::Array(parts) => (parts[0].as_str(), parts[1].as_object()),
            other => (other.as_str(), None),
        };
        let mut text = text.unwrap_or_default().to_owned();
        for (name, value) in own.into_iter().flatten() {
            let value = self.put_in(value);
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text = text.replace(&format!("${{{name}}}"), &value);
        }
        for (name, value) in &self.values {
            if let Some(value) = value.as_str() {
                text = text.replace(&format!("${{{name}}}"), value);
            }
        }
        json!(text)
    }
}

/// The one entry of an object that has one.
fn only(value: &Value) -> Option<(&str, &Value)> {
    let all = value.as_object().filter(|all| all.len() == 1)?;
    all.iter().next().map(|(name, it)| (name.as_str(), it))
}

fn is_no_value(value: &Value) -> bool {
    *value == json!({"Ref": "AWS::NoValue"})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_environment_decides_is_put_in() {
        let template = json!({
            "Parameters": {"Env": {"Default": "dev"}, "Size": {"Default": "small"}},
            "Mappings": {"Days": {"dev": {"Log": 7}, "prod": {"Log": 30}}},
            "Conditions": {
                "IsProd": {"Fn::Equals": [{"Ref": "Env"}, "prod"]},
                "IsNot": {"Fn::Not": [{"Condition": "IsProd"}]},
            },
            "Resources": {
                "Log": {"Properties": {
                    "Name": {"Fn::Sub": "/x/${Env}-${Other.Arn}"},
                    "Days": {"Fn::FindInMap": ["Days", {"Ref": "Env"}, "Log"]},
                    "Kept": {"Fn::If": ["IsProd", true, {"Ref": "AWS::NoValue"}]},
                    "From": {"Fn::ImportValue": {"Fn::Sub": ["${A}-${Env}", {"A": "a"}]}},
                    "To": {"Ref": "Other"},
                }},
                "Test": {"Condition": "IsNot"},
            },
        });
        let dev = resolved(&template, &[]);
        assert_eq!(
            dev["Resources"]["Log"]["Properties"],
            json!({
                "Name": "/x/dev-${Other.Arn}", "Days": 7,
                "From": {"Fn::ImportValue": "a-dev"}, "To": {"Ref": "Other"},
            })
        );
        assert!(dev["Resources"]["Test"].is_object());
        let prod = resolved(&template, &[("Env", "prod")]);
        assert_eq!(prod["Resources"]["Log"]["Properties"]["Kept"], true);
        assert_eq!(prod["Resources"]["Log"]["Properties"]["Days"], 30);
        assert!(prod["Resources"]["Test"].is_null());
    }
}
