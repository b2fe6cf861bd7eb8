//! Cases: accounts that are locked after too many failures.

use std::time::Duration;

use kernel::Code;

use super::{EMAIL, PASSWORD, Stage, WRONG};

/// The 11th attempt after 10 failures is refused, even with the right password.
pub async fn ten_failures_lock_an_account(stage: Stage) {
    stage.ann().await;
    for _ in 0..10 {
        assert_eq!(stage.fail(EMAIL).await.code, Code::BadCredentials);
    }
    let locked = stage.identity.sign_in(EMAIL, PASSWORD).await.err().unwrap();
    assert_eq!(locked.code, Code::TooManyAttempts);
    stage.clock.advance(Duration::from_secs(locked.retry_after_secs.unwrap()));
    stage.another().await;
}

/// An address without an account is locked like one with it.
pub async fn unknown_addresses_are_locked_alike(stage: Stage) {
    for _ in 0..10 {
        assert_eq!(stage.fail("bob@example.org").await.code, Code::BadCredentials);
    }
    assert_eq!(stage.fail("BOB@example.org ").await.code, Code::TooManyAttempts);
    assert_eq!(stage.fail("eve@example.org").await.code, Code::BadCredentials);
}

/// The next lock is longer.
pub async fn locks_grow(stage: Stage) {
    let mut waits = Vec::new();
    while waits.len() < 3 {
        let problem = stage.fail(EMAIL).await;
        if problem.code == Code::TooManyAttempts {
            let secs = problem.retry_after_secs.unwrap();
            stage.clock.advance(Duration::from_secs(secs));
            waits.push(secs);
        }
    }
    assert!(waits.is_sorted_by(|a, b| a < b), "{waits:?}");
}

/// Attempts at the same moment count as attempts one after another do.
pub async fn a_burst_cannot_pass_the_limit(stage: Stage) {
    stage.ann().await;
    assert_eq!(stage.burst(30, WRONG, Some(Code::BadCredentials)).await, 10);
}

/// Failures spread thin and a success between them lock nobody out.
pub async fn failures_are_forgotten(stage: Stage) {
    stage.ann().await;
    for _ in 0..9 {
        stage.fail(EMAIL).await;
    }
    stage.another().await;
    for _ in 0..9 {
        stage.fail(EMAIL).await;
    }
    stage.clock.advance(Duration::from_secs(15 * 60));
    for _ in 0..9 {
        assert_eq!(stage.fail(EMAIL).await.code, Code::BadCredentials);
    }
    stage.another().await;
}
