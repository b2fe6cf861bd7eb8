//! What a person sees of another service's data: the shapes that events and peers carry.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{PostId, Time, UserId};

/// A person's public profile.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// The person's id.
    #[schema(value_type = String, example = "01ARZ3NDEKTSV4RRFFQ69G5FAV")]
    pub user_id: UserId,
    /// Unique name, 3 to 30 of `a-z0-9_`.
    #[schema(example = "hanako")]
    pub handle: String,
    /// Name to show, up to 50 characters; may be empty.
    pub display_name: String,
    /// A few words of one's own, up to 300 characters; may be empty.
    pub bio: String,
    /// When the account was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Time,
    /// When the profile last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Time,
}

/// A post. It never changes; it can only be deleted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Post {
    /// The post's id.
    #[schema(value_type = String, example = "01ARZ3NDEKTSV4RRFFQ69G5FAV")]
    pub post_id: PostId,
    /// Who wrote it.
    #[schema(value_type = String, example = "01ARZ3NDEKTSV4RRFFQ69G5FAV")]
    pub author_id: UserId,
    /// Plain text, 1 to 500 characters, trimmed, NFC.
    pub text: String,
    /// When it was written.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Time,
}
