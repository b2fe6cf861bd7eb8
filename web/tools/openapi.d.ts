// Made from docs/openapi.json by tools/types.js.
export interface Schemas {
  "Configuration": { "issuer": string; "jwks_uri": string; "id_token_signing_alg_values_supported": (string)[]; "subject_types_supported": (string)[]; "response_types_supported": (string)[]; "claims_supported": (string)[]; };
  "Credentials": { "email": string; "password": string; };
  "Deletion": { "password": string; };
  "FieldError": { "field": string; "message": string; };
  "FollowEntry": { "user": Schemas["Profile"]; "followedAt": string; };
  "FollowState": { "following": boolean; "followedBy": boolean; "followerCount": number; "followingCount": number; };
  "Following": { "following": boolean; };
  "Health": { "status": Schemas["HealthStatus"]; "version": string; "checks": { [name: string]: Schemas["HealthStatus"]; }; };
  "HealthStatus": "ok" | "degraded";
  "Liked": { "liked": boolean; "likeCount": number; };
  "Likers": Schemas["Page_Liker"] & { "likeCount": number; "liked": boolean; };
  "LikesOfPosts": { "items": (Schemas["PostLikes"])[]; };
  "Logout": { "refreshToken": string; "everywhere"?: boolean | null; };
  "NewAccount": { "email": string; "password": string; "handle"?: string | null; "displayName"?: string | null; };
  "NewPost": { "text": string; };
  "OwnProfile": Schemas["Profile"] & { "email": string; };
  "Page_FollowEntry": { "items": ({ "user": Schemas["Profile"]; "followedAt": string; })[]; "nextCursor"?: string | null; "prevCursor"?: string | null; };
  "Page_Liker": { "items": ({ "user": Schemas["Profile"]; "likedAt": string; })[]; "nextCursor"?: string | null; "prevCursor"?: string | null; };
  "Page_Post": { "items": ({ "postId": string; "authorId": string; "text": string; "createdAt": string; })[]; "nextCursor"?: string | null; "prevCursor"?: string | null; };
  "Page_Profile": { "items": ({ "userId": string; "handle": string; "displayName": string; "bio": string; "createdAt": string; "updatedAt": string; })[]; "nextCursor"?: string | null; "prevCursor"?: string | null; };
  "Page_TimelineItem": { "items": ({ "post": Schemas["Post"]; "author": Schemas["Profile"] | null; "likeCount": number | null; "liked": boolean | null; })[]; "nextCursor"?: string | null; "prevCursor"?: string | null; };
  "PasswordChange": { "currentPassword": string; "newPassword": string; };
  "Post": { "postId": string; "authorId": string; "text": string; "createdAt": string; };
  "PostLikes": { "postId": string; "likeCount": number; "liked": boolean; };
  "Problem": { "type": string; "title": string; "status": number; "detail": string; "code": string; "requestId": string; "errors"?: (Schemas["FieldError"])[]; };
  "Profile": { "userId": string; "handle": string; "displayName": string; "bio": string; "createdAt": string; "updatedAt": string; };
  "ProfilePatch": { "handle"?: string; "displayName"?: string | null; "bio"?: string | null; };
  "Profiles": { "items": (Schemas["Profile"])[]; };
  "Refresh": { "refreshToken": string; };
  "Session": { "user": Schemas["OwnProfile"]; "accessToken": string; "refreshToken": string; "tokenType": string; "expiresIn": number; };
  "TimelineItem": { "post": Schemas["Post"]; "author": Schemas["Profile"] | null; "likeCount": number | null; "liked": boolean | null; };
}
