//! Every seam on AWS.
//!
//! | seam | service | module |
//! |---|---|---|
//! | `Table` | DynamoDB | [`dynamodb`] |
//! | `Bus` and its queues, the relay | EventBridge, SQS, DynamoDB Streams | [`bus`] |
//! | `Identity` | Cognito | [`cognito`] |
//! | `Feed`, the registry of sockets | Redis | [`redis`] |
//! | `Limiter` | the table, or Redis where it is at hand | [`limiter`], [`redis`] |
//! | `Sockets` | API Gateway `@connections` | [`gateway`] |
//! | `Peers`, `Sessions` | HTTP, or Lambda's Invoke | [`peers`] |
//! | `Mailer` | SES | [`ses`] |

pub mod breaker;
pub mod bus;
pub mod cognito;
pub mod config;
pub mod dynamodb;
pub mod gateway;
mod http;
pub mod limiter;
pub mod peers;
pub mod redis;
pub mod ses;
mod signature;
