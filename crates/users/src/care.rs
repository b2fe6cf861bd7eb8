//! Account care: proving that an e-mail address is one's own, and another password for who lost
//! theirs. Both go by a code in a letter, which is good for an hour and bears five tries.

use std::sync::Arc;
use std::time::Duration;

use kernel::event::ConfirmedEmail;
use kernel::mail::{Letter, Mailer};
use kernel::table::{Condition, Key, TableError, Write, get_one, retry};
use kernel::{Code, EventData, Problem, Time, UserId, outbox};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, timeout};

use crate::Users;

/// How long a code is good.
const GOOD_FOR: Duration = Duration::from_secs(3600);
/// Wrong tries that end a code.
const TRIES: u32 = 5;
/// Time between two letters of a kind to one person, at least.
const PAUSE: Duration = Duration::from_secs(60);
/// Characters of a code: 40 bits.
const CODE_CHARACTERS: usize = 8;
/// Crockford's: nothing that looks like something else.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// What a code is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    Confirm,
    Reset,
}

/// A code that was sent. The code itself is not kept.
#[derive(Serialize, Deserialize)]
struct Issued {
    sha256: [u8; 32],
    tries_left: u32,
    sent_at: Time,
}

fn key(user: UserId, sort: &str) -> Key {
    Key::new(user.prefixed("care#"), sort)
}

fn code_key(user: UserId, purpose: Purpose) -> Key {
    key(
        user,
        match purpose {
            Purpose::Confirm => "confirm",
            Purpose::Reset => "reset",
        },
    )
}

/// The row that says that the address is confirmed.
pub(crate) fn confirmed_key(user: UserId) -> Key {
    key(user, "confirmed")
}

fn wrong_code() -> Problem {
    Problem::new(Code::WrongCode, "The code is wrong, used or older than an hour. Ask for another.")
}

/// A code as people type it: without the dash, in any case, with the letters that look like digits.
fn digest(typed: &str) -> [u8; 32] {
    let plain = typed.chars().filter(|c| !c.is_whitespace() && *c != '-');
    let plain: String = plain
        .map(|c| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        })
        .collect();
    Sha256::digest(plain).into()
}

fn made_of(secret: [u8; 32]) -> String {
    let letters = secret.iter().take(CODE_CHARACTERS);
    letters.map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}

/// A code as people read it.
fn readable(code: &str) -> String {
    let (first, last) = code.split_at(CODE_CHARACTERS / 2);
    format!("{first}-{last}")
}

fn letter(purpose: Purpose, to: String, code: &str) -> Letter {
    let code = readable(code);
    let (subject, english, japanese) = match purpose {
        Purpose::Confirm => (
            "Confirm your e-mail address / メールアドレスの確認",
            "Type this code in Mini-SNS to confirm that this address is yours:",
            "このアドレスがご本人のものであることを確認するため、次のコードを Mini-SNS に入力してください。",
        ),
        Purpose::Reset => (
            "Choose another password / パスワードの再設定",
            "Type this code in Mini-SNS to choose another password:",
            "パスワードを再設定するには、次のコードを Mini-SNS に入力してください。",
        ),
    };
    let text = format!(
        "{english}\n{japanese}\n\n    {code}\n\n\
         It is good for an hour. If you did not ask for it, do nothing.\n\
         有効期限は 1 時間です。心当たりがない場合は、何もする必要はありません。\n"
    );
    Letter { to, subject: subject.to_owned(), text }
}

/// A letter that could not be sent is asked for again by whom it was for.
fn note_failure(sent: Result<(), Problem>) {
    if let Err(problem) = sent {
        let error = &problem as &dyn std::error::Error;
        tracing::warn!(error, "a letter could not be sent");
    }
}

impl Users {
    fn mailer(&self) -> Result<&Arc<dyn Mailer>, Problem> {
        let silent = || Problem::new(Code::NotFound, "This server sends no e-mail.");
        self.mailer.as_ref().ok_or_else(silent)
    }

    /// A place among the letters that are being written.
    fn place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.letters).try_acquire_owned().map_err(|_| {
            Problem::new(Code::RateLimited, "Too many letters are being written. Try again soon.")
                .retry_after_secs(1)
        })
    }

    /// Whether the address is confirmed; none where the server does not ask for it.
    pub(crate) async fn is_confirmed(&self, user: UserId) -> Result<Option<bool>, Problem> {
        if !self.config.asks_for_confirmation {
            return Ok(None);
        }
        Ok(Some(get_one(&*self.table, confirmed_key(user)).await?.is_some()))
    }

    /// Sends the code by which a person confirms their address, unless they have.
    pub(crate) async fn send_confirmation(self: &Arc<Self>, user: UserId) -> Result<(), Problem> {
        let (mailer, place) = (Arc::clone(self.mailer()?), self.place()?);
        if get_one(&*self.table, confirmed_key(user)).await?.is_some() {
            return Ok(());
        }
        let Some(email) = self.identity.email(user).await? else { return Ok(()) };
        let letter = letter(Purpose::Confirm, email, &self.issue(user, Purpose::Confirm).await?);
        let written = tokio::spawn(async move {
            note_failure(mailer.send(letter).await);
            drop(place);
        });
        if let Some(wait) = self.config.letters_wait {
            let _ = timeout(wait * 2, written).await;
        }
        Ok(())
    }

    /// Sends the first one, to somebody who has just registered. They are registered all the same
    /// where that fails, and can ask for another.
    pub(crate) async fn welcome(self: &Arc<Self>, user: UserId) {
        if self.config.asks_for_confirmation {
            note_failure(self.send_confirmation(user).await);
        }
    }

    /// Notes that the address is the person's, for who has the code.
    pub(crate) async fn confirm_email(&self, user: UserId, code: &str) -> Result<(), Problem> {
        if get_one(&*self.table, confirmed_key(user)).await?.is_some() {
            return Ok(());
        }
        let event = self.event(EventData::EmailConfirmed(ConfirmedEmail { user_id: user }));
        let note = Write::put_json(confirmed_key(user), &self.clock.now());
        self.redeem(user, Purpose::Confirm, code, vec![note, outbox::write(&event)]).await
    }

    /// Sends the code by which another password can be chosen, where the address is known. Nobody
    /// is told whether it is, and so nobody waits for it.
    pub(crate) async fn send_reset(self: Arc<Self>, email: String) -> Result<(), Problem> {
        self.mailer()?;
        let (place, users) = (self.place()?, Arc::clone(&self));
        let written = tokio::spawn(async move {
            note_failure(users.write_reset(&email).await);
            drop(place);
        });
        if let Some(wait) = self.config.letters_wait {
            // As long where there is nothing to write.
            let _ = tokio::join!(sleep(wait), timeout(wait * 2, written));
        }
        Ok(())
    }

    async fn write_reset(&self, email: &str) -> Result<(), Problem> {
        let Some(user) = self.identity.find(email).await? else { return Ok(()) };
        let Some(email) = self.identity.email(user).await? else { return Ok(()) };
        let code = match self.issue(user, Purpose::Reset).await {
            Err(problem) if problem.code == Code::RateLimited => return Ok(()),
            code => code?,
        };
        self.mailer()?.send(letter(Purpose::Reset, email, &code)).await
    }

    /// Sets another password for who has the code. Every session ends.
    pub(crate) async fn redeem_reset(
        &self,
        email: &str,
        code: &str,
        password: &str,
    ) -> Result<(), Problem> {
        let user = self.identity.find(email).await?.ok_or_else(wrong_code)?;
        // Used up before the password is set: should that fail, another code is asked for.
        self.redeem(user, Purpose::Reset, code, Vec::new()).await?;
        self.identity.set_password(user, password).await
    }

    /// A code by which a person chooses another password, for an operator to hand on.
    pub(crate) async fn reset_code(&self, user: UserId) -> Result<String, Problem> {
        Ok(readable(&self.issue(user, Purpose::Reset).await?))
    }

    /// A new code of a person, in place of the one before it.
    async fn issue(&self, user: UserId, purpose: Purpose) -> Result<String, Problem> {
        let (key, now) = (code_key(user, purpose), self.clock.now());
        let too_soon = |wait: Duration| {
            let detail = "A code was sent a moment ago. Look there first.";
            Problem::new(Code::RateLimited, detail).retry_after_secs(wait.as_secs().max(1))
        };
        let condition = match get_one(&*self.table, key.clone()).await? {
            Some(row) => {
                let next = row.json::<Issued>()?.sent_at + PAUSE;
                if next > now {
                    return Err(too_soon(next.since(now)));
                }
                Condition::Version(row.version)
            }
            None => Condition::Absent,
        };
        let code = made_of(self.ids.secret());
        let issued = Issued { sha256: digest(&code), tries_left: TRIES, sent_at: now };
        let row = Write::put_json(key, &issued).expiring(now + GOOD_FOR).when(condition);
        match self.table.commit(vec![row]).await {
            // Another request of this moment sends one.
            Err(TableError::Unmet(_)) => Err(too_soon(PAUSE)),
            Err(error) => Err(error.into()),
            Ok(()) => Ok(code),
        }
    }

    /// Uses a code up, together with what it allows; a wrong one costs a try.
    async fn redeem(
        &self,
        user: UserId,
        purpose: Purpose,
        typed: &str,
        allowed: Vec<Write>,
    ) -> Result<(), Problem> {
        retry(|| async {
            let row = get_one(&*self.table, code_key(user, purpose)).await?;
            let row = row.ok_or_else(wrong_code)?;
            let mut issued: Issued = row.json()?;
            let unchanged = Condition::Version(row.version);
            if digest(typed) == issued.sha256 {
                let mut writes = vec![Write::delete(row.key).when(unchanged)];
                writes.extend(allowed.iter().cloned());
                return Ok(self.table.commit(writes).await?);
            }
            issued.tries_left = issued.tries_left.saturating_sub(1);
            let left = if issued.tries_left == 0 {
                Write::delete(row.key)
            } else {
                Write::put_json(row.key, &issued).expiring(issued.sent_at + GOOD_FOR)
            };
            self.table.commit(vec![left.when(unchanged)]).await?;
            Err(wrong_code().into())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_as_people_type_them() {
        let code = made_of([9; 32]);
        assert_eq!(code, "99999999");
        assert_eq!(digest("01ab-c2dO"), digest(" oLAB C2D0 "));
        assert_ne!(digest("01ABC2D0"), digest("01ABC2D1"));
        let letter = letter(Purpose::Reset, "a@b".into(), "ABCD2345");
        assert!(letter.text.contains("ABCD-2345"), "{}", letter.text);
    }
}
