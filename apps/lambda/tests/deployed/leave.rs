//! Who may invoke whom, as the roles say that the templates have made.

use std::sync::Arc;

use aws::peers::{Functions, PeersLimits, RemotePeers, SigV4};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use kernel::clock::SystemClock;
use kernel::peers::Peers;
use kernel::{Clock, Code, PostId, UserId};

use crate::world::World;

/// Somebody with a key of their own, who may do what a policy says.
struct Stranger<'a> {
    world: &'a World,
    /// Users belong to the account, so the name is one that no other run has.
    name: String,
    peers: Arc<RemotePeers>,
    key: String,
}

impl<'a> Stranger<'a> {
    async fn arrives(world: &'a World) -> Self {
        let name = format!("stranger-{}", world.region.name());
        let user = [("UserName", &*name)];
        world.region.iam("CreateUser", &user, "UserName").await;
        let made = world.region.iam("CreateAccessKey", &user, "AccessKey").await.remove(0);
        let part = |element: &str| {
            let (_, rest) = made.split_once(&format!("<{element}>")).unwrap();
            rest.split_once('<').unwrap().0.to_owned()
        };
        let key = part("AccessKeyId");
        let credentials = Credentials::new(&key, part("SecretAccessKey"), None, None, "test");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let credentials = SharedCredentialsProvider::new(credentials);
        let signature = SigV4::new(credentials, world.region.name(), Arc::clone(&clock));
        let (url, env) = (world.region.bed.guarded.clone(), world.env.to_owned());
        let functions = Functions { url, env };
        let peers = RemotePeers::by_invoke(functions, signature, PeersLimits::default(), &clock);
        Self { world, name, peers, key }
    }

    /// Whether the functions `users`, `posts` and `social` answer.
    async fn is_answered(&self, person: UserId) -> [bool; 3] {
        let post = [PostId(1.into())];
        let told = [
            self.peers.profiles(&[person]).await.map(|found| assert!(found[0].is_some())),
            self.peers.posts_exist(&post).await.map(|found| assert_eq!(found, [false])),
            self.peers.like_counts(&post).await.map(|found| assert_eq!(found, [0])),
        ];
        told.map(|told| match told {
            Ok(()) => true,
            Err(problem) if problem.code == Code::Internal => {
                let cause = problem.cause.as_ref().unwrap().to_string();
                assert!(cause.contains("did not take our proof (403"), "{cause}");
                false
            }
            Err(problem) => panic!("{problem:?}"),
        })
    }

    async fn may(&self, policy: &str) {
        let policy = [("UserName", &*self.name), ("PolicyName", "own"), ("PolicyDocument", policy)];
        self.world.region.iam("PutUserPolicy", &policy, "").await;
    }

    async fn leaves(self) {
        let user = ("UserName", &*self.name);
        let region = &self.world.region;
        region.iam("DeleteUserPolicy", &[user, ("PolicyName", "own")], "").await;
        region.iam("DeleteAccessKey", &[user, ("AccessKeyId", &self.key)], "").await;
        region.iam("DeleteUser", &[user], "").await;
    }
}

/// R1.5: who has the leave of a role asks those whom the role names, and nobody else.
pub(crate) async fn a_roles_leave_opens_the_functions_that_it_names(world: &World, person: UserId) {
    let stranger = Stranger::arrives(world).await;
    assert_eq!(stranger.is_answered(person).await, [false; 3]);
    for (function, answered) in
        [("posts", [true, false, true]), ("social", [true, true, false]), ("timeline", [true; 3])]
    {
        let role = format!("mini-sns-{}-{function}", world.env);
        let role = [("RoleName", &*role), ("PolicyName", "own")];
        let policy = world.region.iam("GetRolePolicy", &role, "PolicyDocument").await.remove(0);
        let policy = format!("policy={policy}");
        let (_, policy) = form_urlencoded::parse(policy.as_bytes()).next().unwrap();
        stranger.may(&policy).await;
        assert_eq!(stranger.is_answered(person).await, answered, "{function}");
    }
    stranger.leaves().await;
}
