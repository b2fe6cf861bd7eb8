//! Cases: what operators and letters do to an identity.

use std::sync::Arc;

use kernel::Code;

use super::{EMAIL, PASSWORD, Stage, code};

/// Who lost the password gets in by another one, nobody else stays in, and a lock is opened.
pub async fn a_password_that_is_set_ends_sessions_and_locks(stage: Stage) {
    let (user, tokens) = stage.signed_in().await;
    for _ in 0..10 {
        stage.fail(EMAIL).await;
    }
    assert_eq!(stage.fail(EMAIL).await.code, Code::TooManyAttempts);
    stage.identity.set_password(user, "other-horse-2").await.unwrap();
    stage.assert_ended(&tokens).await;
    let tokens = stage.identity.sign_in(EMAIL, "other-horse-2").await.unwrap();
    stage.assert_good(&tokens).await;
    assert_eq!(code(stage.identity.sign_in(EMAIL, PASSWORD).await), Code::BadCredentials);
    let nobody = stage.identity.set_password(stage.user(7), "other-horse-2").await;
    assert_eq!(code(nobody), Code::BadCredentials);
}

/// An address leads to its owner, however it is written, and to nobody once they are gone.
pub async fn an_address_is_found_by_its_owner_alone(stage: Stage) {
    let user = stage.ann().await;
    assert_eq!(stage.identity.find(" ANN@example.org").await.unwrap(), Some(user));
    assert_eq!(stage.identity.find("nobody@example.org").await.unwrap(), None);
    stage.identity.delete(user).await.unwrap();
    assert_eq!(stage.identity.find(EMAIL).await.unwrap(), None);
}

/// A suspension ends every session at once and lets none begin; what was there before is there
/// again afterwards, but for the sessions. Both can be repeated, and nobody unknown is no error.
pub async fn a_suspended_identity_is_shut_out_until_it_is_restored(stage: Stage) {
    let (user, tokens) = stage.signed_in().await;
    stage.assert_good(&tokens).await;
    for _ in 0..2 {
        stage.identity.suspend(user).await.unwrap();
        for identity in [Arc::clone(&stage.identity), (stage.again)()] {
            let verified = identity.verify(&tokens.access_token).await;
            assert_eq!(code(verified), Code::Unauthenticated);
            let refreshed = identity.refresh(&tokens.refresh_token).await;
            assert_eq!(code(refreshed), Code::AccountSuspended);
            assert_eq!(code(identity.sign_in(EMAIL, PASSWORD).await), Code::AccountSuspended);
        }
    }
    let taken = stage.identity.create(stage.user(2), EMAIL, PASSWORD).await;
    assert_eq!(code(taken), Code::EmailTaken);
    assert_eq!(stage.identity.email(user).await.unwrap().as_deref(), Some(EMAIL));
    for _ in 0..2 {
        stage.identity.restore(user).await.unwrap();
    }
    stage.assert_ended(&tokens).await;
    stage.assert_good(&stage.another().await).await;
    let nobody = stage.user(3);
    stage.identity.suspend(nobody).await.unwrap();
    stage.identity.restore(nobody).await.unwrap();
    assert_eq!(stage.identity.email(nobody).await.unwrap(), None);
}
