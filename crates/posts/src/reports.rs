//! What a report is. Posts are this service's own, and most reports are about one; a person is
//! known by the read that other services are asked with anyway. So reports of both lie here.

use kernel::acts::Order;
use kernel::{Code, FieldError, Post, PostId, Problem, Profile, Time, UserId};
use serde::{Deserialize, Serialize};
use ulid::Ulid;
use utoipa::ToSchema;

use crate::model;

/// A report's place among the reports: ids given later are greater.
pub type ReportId = Ulid;

/// What is wrong with what is reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// Advertising, and the same again and again.
    Spam,
    /// Against somebody: insults, harassment, hate.
    Abuse,
    /// Threats, or a call to them.
    Violence,
    /// Against the law.
    Illegal,
    /// As the text says.
    Other,
}

/// Whether somebody has looked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It waits.
    Open,
    /// An operator has decided.
    Closed,
}

/// What an operator decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing is wrong with it: it stays.
    Kept,
    /// The post was removed.
    Removed,
    /// The account was suspended.
    Suspended,
    /// Another report says the same.
    Duplicate,
    /// As the note says.
    Other,
}

impl Verdict {
    /// Its name among the acts.
    pub(crate) const fn act(self) -> &'static str {
        match self {
            Self::Kept => "close-report-kept",
            Self::Removed => "close-report-removed",
            Self::Suspended => "close-report-suspended",
            Self::Duplicate => "close-report-duplicate",
            Self::Other => "close-report-other",
        }
    }
}

/// What is reported, as it was at that moment: later changes and deletions leave it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Copied {
    /// A post.
    Post(Post),
    /// A person, by their profile.
    User(Profile),
}

impl Copied {
    /// The id of the post or the person.
    pub(crate) const fn id(&self) -> Ulid {
        match self {
            Self::Post(post) => post.post_id.0,
            Self::User(profile) => profile.user_id.0,
        }
    }

    /// Whom the report is about.
    fn person(&self) -> UserId {
        match self {
            Self::Post(post) => post.author_id,
            Self::User(profile) => profile.user_id,
        }
    }
}

/// How a report was closed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Closing {
    /// When.
    pub at: Time,
    /// What was decided.
    #[serde(rename = "as")]
    pub verdict: Verdict,
    /// By whom.
    pub operator: String,
    /// Why.
    pub note: String,
}

/// A report as operators see it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Its id.
    pub report_id: ReportId,
    /// When it was made.
    pub created_at: Time,
    /// Who made it; none when their account has been deleted.
    pub reporter_id: Option<UserId>,
    /// What is wrong.
    pub reason: Reason,
    /// In the reporter's words.
    pub text: Option<String>,
    /// With what.
    pub subject: Copied,
    /// How it was closed; none while it is open.
    pub closed: Option<Closing>,
}

impl Report {
    pub(crate) fn state(&self) -> State {
        if self.closed.is_some() { State::Closed } else { State::Open }
    }

    /// The report after an operator decided; none when one has before.
    pub(crate) fn close(&self, at: Time, verdict: Verdict, order: &Order) -> Option<Self> {
        let (operator, note) = (order.operator.clone(), order.reason.clone());
        let closed = Some(Closing { at, verdict, operator, note });
        self.closed.is_none().then(|| Self { closed, ..self.clone() })
    }
}

/// What a report is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Subject {
    Post(PostId),
    User(UserId),
}

impl Subject {
    /// Exactly one of the two.
    pub(crate) fn parse(post: Option<PostId>, user: Option<UserId>) -> Result<Self, Problem> {
        match (post, user) {
            (Some(post), None) => Ok(Self::Post(post)),
            (None, Some(user)) => Ok(Self::User(user)),
            _ => {
                let error =
                    |field| FieldError::new(field, "Name a post or a user, one of the two.");
                Err(Problem::invalid_fields(vec![error("postId"), error("userId")]))
            }
        }
    }

    /// Its name in keys.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Post(post) => post.prefixed("post#"),
            Self::User(user) => user.prefixed("user#"),
        }
    }
}

/// What a reporter says, by the rules; nothing but spaces is nothing.
pub(crate) fn words(text: Option<&str>, characters_max: usize) -> Result<Option<String>, Problem> {
    match text.map(str::trim) {
        None | Some("") => Ok(None),
        Some(text) => model::plain_text(text, characters_max).map(Some),
    }
}

/// Nobody reports what is their own.
pub(crate) fn check_other(reporter: UserId, subject: &Copied) -> Result<(), Problem> {
    if subject.person() != reporter {
        return Ok(());
    }
    let (field, message) = match subject {
        Copied::Post(_) => ("postId", "Somebody else's post."),
        Copied::User(_) => ("userId", "Somebody else's id."),
    };
    let errors = vec![FieldError::new(field, message)];
    Err(Problem { errors, ..Problem::new(Code::SelfReport, "What is your own, you can delete.") })
}
