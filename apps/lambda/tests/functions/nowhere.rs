//! Settings with which a function has nobody to call: at each address nobody listens.

/// Nobody listens on port 1.
const NOWHERE: &str = "http://127.0.0.1:1";

pub(crate) const SETTINGS: [(&str, &str); 10] = [
    ("MINI_SNS_ENV_NAME", "test"),
    ("MINI_SNS_DYNAMODB_URL", NOWHERE),
    ("MINI_SNS_AWS_URL", NOWHERE),
    ("MINI_SNS_COGNITO_POOL_ID", "us-east-1_example"),
    ("MINI_SNS_COGNITO_CLIENT_ID", "example"),
    ("MINI_SNS_COGNITO_KEYS_URL", "http://127.0.0.1:1/jwks.json"),
    ("MINI_SNS_REDIS_URLS", "redis://127.0.0.1:1"),
    ("MINI_SNS_LAMBDA_URL", NOWHERE),
    ("MINI_SNS_CONNECTIONS_URL", NOWHERE),
    ("MINI_SNS_CORS_ORIGINS", "https://app.example"),
];
