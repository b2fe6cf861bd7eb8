//! Identity on a Cognito user pool.
