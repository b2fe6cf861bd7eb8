//! Who may do what, in the templates: nobody more than it must. These rules know our names, which
//! the usual tools do not.

use serde_json::Value;

/// Actions that AWS lets nobody narrow to a resource, and why they are needed.
const WHOLE_ACCOUNT: [(&str, &str); 7] = [
    ("xray:PutTraceSegments", "traces belong to no resource"),
    ("xray:PutTelemetryRecords", "traces belong to no resource"),
    ("cloudwatch:GetMetricData", "metrics are no resources"),
    ("ec2:CreateNetworkInterface", "Lambda makes a function's place in the VPC by its role"),
    ("ec2:DescribeNetworkInterfaces", "the same"),
    ("ec2:DeleteNetworkInterface", "the same"),
    ("ec2:DescribeSubnets", "the same"),
];
/// The names that belong to a service: the middle of its table's, queues' and functions'.
const SERVICES: [&str; 4] = ["user", "post", "social", "timeline"];

/// A line for each breach in a template, resolved for one environment.
pub(super) fn breaches(template: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let resources = template["Resources"].as_object();
    for (name, resource) in resources.into_iter().flatten() {
        let properties = &resource["Properties"];
        if resource["Type"] == "AWS::IAM::Role" {
            for policy in list(&properties["Policies"]) {
                for statement in list(&policy["PolicyDocument"]["Statement"]) {
                    let wide = wide(statement).into_iter();
                    found.extend(wide.map(|it| format!("the role {name} {it}")));
                }
            }
        }
    }
    found.extend(shared_roles(template));
    found
}

/// What a statement gives that no statement may.
fn wide(statement: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if statement["Effect"] == "Deny" {
        return found;
    }
    if !statement["NotAction"].is_null() || !statement["NotResource"].is_null() {
        found.push("says what is not meant, and so allows the rest".to_owned());
    }
    let actions: Vec<&str> = list(&statement["Action"]).iter().filter_map(Value::as_str).collect();
    for action in actions.iter().filter(|action| action.contains('*')) {
        found.push(format!("may do {action}"));
    }
    let whole = |action: &&str| WHOLE_ACCOUNT.iter().any(|(known, _)| known == action);
    for resource in list(&statement["Resource"]) {
        let text = resource.as_str().map_or_else(|| resource.to_string(), str::to_owned);
        let last: Vec<&str> = text.splitn(6, ':').skip(5).collect();
        let is_all = text == "*" || matches!(last[..], ["*" | "*/*"]);
        if is_all && !actions.iter().all(whole) {
            found.push(format!("may do {} to everything", actions.join(", ")));
        }
    }
    found
}

/// Roles that more than one function has.
fn shared_roles(template: &Value) -> Vec<String> {
    let resources = template["Resources"].as_object().into_iter().flatten();
    let functions = resources.filter(|(_, it)| it["Type"] == "AWS::Lambda::Function");
    let mut seen: Vec<(&Value, &String)> = Vec::new();
    let mut found = Vec::new();
    for (name, function) in functions {
        let role = &function["Properties"]["Role"];
        if let Some((_, other)) = seen.iter().find(|(known, _)| *known == role) {
            found.push(format!("{other} and {name} have one role"));
        }
        seen.push((role, name));
    }
    found
}

/// The items of a list, or the one thing that stands in a list's place.
pub(super) fn list(value: &Value) -> &[Value] {
    match value {
        Value::Null => &[],
        Value::Array(all) => all,
        one => std::slice::from_ref(one),
    }
}

/// A line for each thing of another service that a service's stack names.
pub(super) fn foreign(stack: &str, template: &Value) -> Vec<String> {
    let Some(own) = SERVICES.iter().find(|service| **service == stack) else { return Vec::new() };
    let text = template["Resources"].to_string();
    let others = SERVICES.iter().filter(|service| *service != own);
    let theirs = |service: &&&str| text.contains(&format!("-{service}-ddb"));
    others.filter(theirs).map(|other| format!("the {own} stack names the {other} table")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn role(statement: &Value) -> Value {
        json!({"Resources": {"R": {
            "Type": "AWS::IAM::Role",
            "Properties": {"Policies": [{"PolicyDocument": {"Statement": [statement]}}]},
        }}})
    }

    #[test]
    fn wildcards_are_found() {
        let table = "arn:aws:dynamodb:eu-west-1:1:table/t";
        let breaches = |action: Value, resource: Value| {
            let statement = json!({"Effect": "Allow", "Action": action, "Resource": resource});
            breaches(&role(&statement)).len()
        };
        assert_eq!(breaches(json!("dynamodb:GetItem"), json!(table)), 0);
        assert_eq!(breaches(json!("dynamodb:*"), json!(table)), 1);
        assert_eq!(breaches(json!(["dynamodb:Get*", "dynamodb:Put*"]), json!([table])), 2);
        assert_eq!(breaches(json!("dynamodb:GetItem"), json!("*")), 1);
        assert_eq!(breaches(json!("sqs:SendMessage"), json!(["arn:aws:sqs:eu-west-1:1:*"])), 1);
        assert_eq!(breaches(json!("xray:PutTraceSegments"), json!("*")), 0);
        assert_eq!(breaches(json!(["xray:PutTraceSegments", "sqs:SendMessage"]), json!("*")), 1);
        let all_but = json!({"Effect": "Allow", "NotAction": "a:b", "Resource": table});
        assert_eq!(super::breaches(&role(&all_but)).len(), 1);
        let deny = json!({"Effect": "Deny", "Action": "sqs:*", "Resource": "*"});
        assert_eq!(super::breaches(&role(&deny)).len(), 0);
    }

    #[test]
    fn a_role_of_two_functions_is_found() {
        let function = |role: &str| {
            let role = json!({"Ref": role});
            json!({"Type": "AWS::Lambda::Function", "Properties": {"Role": role}})
        };
        let of = |one: &str, other: &str| {
            breaches(&json!({"Resources": {"A": function(one), "B": function(other)}}))
        };
        assert_eq!(of("R", "R"), ["A and B have one role"]);
        assert!(of("R", "S").is_empty());
    }

    #[test]
    fn another_services_table_is_found() {
        let template = json!({"Resources": {"R": {"TableName": "mini-sns-dev-user-ddb"}}});
        assert_eq!(foreign("post", &template), ["the post stack names the user table"]);
        assert!(foreign("user", &template).is_empty());
        assert!(foreign("alarms", &template).is_empty());
    }
}
