//! The table on DynamoDB.
