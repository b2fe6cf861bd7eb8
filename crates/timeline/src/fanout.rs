//! A post goes into the feeds of its author and of the author's followers, and out to their
//! sockets.
//!
//! The first message of a post serves the author and the first page of followers, and puts the
//! next page on the queue; so a long list of followers holds nobody up and goes on where it was
//! after a crash. An author above the threshold gets one row of their own instead, which readers
//! merge, and the followers only their frames.

use std::collections::HashSet;

use bytes::Bytes;
use futures_util::future::try_join_all;
use kernel::bus::{Delivery, Failed, Message};
use kernel::spans::{Kind, span};
use kernel::table::{Key, Scatter, get_one, json};
use kernel::{EventData, Post, PostId, Problem, UserId, request};

use crate::model::RowBody;
use crate::objects::{Author, Profiled};
use crate::react::{FAN_OUT, goes_on_after};
use crate::read::Item;
use crate::turn::Turn;
use crate::{Timeline, live, store};

/// Counts asked anew for posts older than this: a younger one may be shown without likes.
const COUNT_LAG_SECS: u64 = 3;

struct Job<'a> {
    delivery: &'a Delivery,
    post: &'a Post,
    after: Option<UserId>,
    /// Whether an earlier try may have written rows and not told of them.
    again: bool,
}

/// What one job writes, and to whom it is told.
struct Plan<'a> {
    message: &'a Message,
    post: &'a Post,
    /// None while the user service is away.
    author: Option<Profiled>,
    arrival: u64,
    writes: Vec<Scatter>,
    /// Whose feeds it concerns.
    users: Vec<UserId>,
    /// Who is sent a frame.
    told: Vec<UserId>,
    next: Option<UserId>,
}

fn jobs(batch: &[Delivery]) -> Vec<Job<'_>> {
    // The same step delivered twice in one batch is done once.
    let mut seen: HashSet<(PostId, Option<UserId>)> = HashSet::new();
    let all = batch.iter().filter_map(|delivery| match &delivery.message.event.data {
        EventData::PostCreated(post) => {
            let (after, again) = (goes_on_after(&delivery.message), delivery.receives > 1);
            Some(Job { delivery, post, after, again })
        }
        _ => None,
    });
    all.filter(|job| seen.insert((job.post.post_id, job.after))).collect()
}

/// Cuts jobs into turns: not too many, and none with two steps of one post, whose pages of
/// followers might overlap.
fn turns(jobs: Vec<Job<'_>>, posts_max: usize) -> Vec<Vec<Job<'_>>> {
    let mut turns: Vec<Vec<Job<'_>>> = Vec::new();
    for job in jobs {
        match turns.last_mut() {
            Some(turn)
                if turn.len() < posts_max
                    && turn.iter().all(|other| other.post.post_id != job.post.post_id) =>
            {
                turn.push(job);
            }
            _ => turns.push(vec![job]),
        }
    }
    turns
}

impl Timeline {
    /// Fans a batch of posts out.
    pub(crate) async fn fan_out(&self, batch: Vec<Delivery>) -> Vec<Failed> {
        let mut failed = Vec::new();
        for mut turn in turns(jobs(&batch), self.config.fanout_posts.max(1)) {
            let Err(problem) = self.fan_out_turn(&turn).await else { continue };
            if let [job] = &turn[..] {
                failed.push(Failed { id: job.delivery.id.clone(), problem });
                continue;
            }
            // One may be at fault for all: each gets a turn of its own.
            for job in turn.chunks_mut(1) {
                job[0].again = true;
                if let Err(problem) = self.fan_out_turn(job).await {
                    failed.push(Failed { id: job[0].delivery.id.clone(), problem });
                }
            }
        }
        failed
    }

    async fn fan_out_turn(&self, jobs: &[Job<'_>]) -> Result<(), Problem> {
        let ids: Vec<UserId> = jobs.iter().map(|job| job.post.author_id).collect();
        let authors = self.objects.authors(&*self.parts.peers, &ids);
        let authors = request::hurried(self.config.details_wait, authors).await?;
        let waited = self.turns.take();
        let mut turn = span("turn wait", Kind::Internal, waited, |_, _| {}).await?;
        let work = Box::pin(self.fan_out_in(&mut turn, jobs, authors));
        let done = span("fan-out", Kind::Internal, work, |done, span| {
            span.failed = done.as_ref().err().map(|problem| problem.code.as_str().into());
            span.tell("posts", jobs.len());
        })
        .await;
        turn.end().await;
        done
    }

    async fn fan_out_in(
        &self,
        turn: &mut Turn<'_>,
        jobs: &[Job<'_>],
        authors: Vec<Author>,
    ) -> Result<(), Problem> {
        let table = &*self.parts.table;
        let facts = jobs.iter().flat_map(|job| {
            let author = job.post.author_id;
            [store::gone_key(job.post.post_id), store::left_key(author), store::count_key(author)]
        });
        let facts = store::get_all(table, &facts.collect::<Vec<_>>()).await?;
        let mut plans = Vec::with_capacity(jobs.len());
        for ((job, author), facts) in jobs.iter().zip(authors).zip(facts.chunks(3)) {
            // Deleted before it arrived, or its author has left: nothing may come of it.
            let (None, None) = (&facts[0], &facts[1]) else { continue };
            let followers = facts[2].as_ref().map_or(0, |item| item.count);
            // Of a suspended author nobody is told; the rows are there for the day of their return.
            let (author, quiet) = match author {
                Author::Known(author) => (Some(author), false),
                Author::Unknown => (None, false),
                Author::Gone => (None, true),
            };
            let planned = self.plan(job, author, turn.next(), followers);
            let mut plan = request::about(&job.delivery.message.event, planned).await?;
            if quiet {
                plan.told.clear();
            }
            plans.push(plan);
        }
        let writes = plans.iter_mut().flat_map(|plan| std::mem::take(&mut plan.writes)).collect();
        // The pages that follow are queued while these rows are written: at worst they run although
        // this one has to be repeated, and each of them is repeatable.
        let further = plans.iter().filter_map(|plan| Some((plan.message, plan.next?)));
        let queued = further.map(|(message, next)| self.go_on(FAN_OUT, message, next));
        tokio::try_join!(turn.write(writes), try_join_all(queued))?;
        let users: Vec<UserId> = plans.iter().flat_map(|plan| plan.users.iter().copied()).collect();
        turn.show().await?;
        self.parts.feed.forget(&users).await?;
        for plan in &plans {
            turn.check().await?;
            request::about(&plan.message.event, self.tell(plan)).await?;
        }
        Ok(())
    }

    async fn plan<'a>(
        &self,
        job: &Job<'a>,
        author: Option<Profiled>,
        arrival: u64,
        followers: i64,
    ) -> Result<Plan<'a>, Problem> {
        let table = &*self.parts.table;
        let Post { post_id, author_id, .. } = *job.post;
        let first = job.after.is_none();
        let big = first && followers > self.config.big_followers;
        let (ends, next) = if big {
            (store::all_followers(table, author_id).await?, None)
        } else if first && followers == 0 {
            (Vec::new(), None)
        } else {
            store::followers(table, author_id, job.after, self.config.fanout_page).await?
        };
        // The rows of those who mute the author are there for the day when they no longer do.
        let muted: HashSet<_> =
            ends.iter().filter(|end| end.muted).map(|end| end.user_id).collect();
        let author_too = first.then_some(author_id);
        let users = author_too.into_iter().chain(ends.iter().map(|end| end.user_id));
        let users: Vec<UserId> = users.collect();
        let mut keys: Vec<Key> = if big {
            vec![store::author_key(author_id, post_id), store::feed_key(author_id, post_id)]
        } else {
            users.iter().map(|user| store::feed_key(*user, post_id)).collect()
        };
        // A row that is there keeps its arrival, so that nobody is given the post again.
        let there = store::get_all(table, &keys).await?;
        let mut told = if big {
            if job.again || there[0].is_none() { users.clone() } else { Vec::new() }
        } else {
            let mut told = Vec::with_capacity(users.len());
            for (user, item) in users.iter().zip(&there) {
                // A back-fill that was faster has told nobody.
                let row = item.as_ref().map(store::row).transpose()?;
                if job.again || row.is_none_or(|row| row.arrival == 0 && !row.gone) {
                    told.push(*user);
                }
            }
            told
        };
        told.retain(|user| !muted.contains(user));
        let mut there = there.iter();
        keys.retain(|_| there.next().is_some_and(Option::is_none));
        let body = json(&RowBody { author_id, arrival, gone: false });
        let put = |key| Scatter::Put { key, body: body.clone(), expires_at: None };
        let writes: Vec<Scatter> = keys.into_iter().map(put).collect();
        // Before the turn's rows: two posts of one author may share a turn, and each row is
        // written once in it.
        if big && get_one(table, store::big_key(author_id)).await?.is_none() {
            let key = store::big_key(author_id);
            table.scatter(vec![Scatter::Put { key, body: Bytes::new(), expires_at: None }]).await?;
        }
        Ok(Plan {
            message: &job.delivery.message,
            post: job.post,
            author,
            arrival,
            writes,
            users,
            told,
            next,
        })
    }

    /// Sends the post's frame, rendered once for all of them.
    async fn tell(&self, plan: &Plan<'_>) -> Result<(), Problem> {
        // Whoever connects from here on is greeted with what this turn has shown.
        if self.parts.sockets.may_reach(&plan.told) {
            self.parts.sockets.send(&plan.told, self.frame(plan).await?).await?;
        }
        let delay = self.parts.clock.now().since(plan.post.created_at);
        metrics::histogram!("timeline_update_delay_seconds").record(delay.as_secs_f64());
        Ok(())
    }

    async fn frame(&self, plan: &Plan<'_>) -> Result<Bytes, Problem> {
        let Post { post_id, created_at, .. } = *plan.post;
        let post = self.objects.keep_post(plan.post);
        let age = self.parts.clock.now().since(created_at);
        let like_count = if age.as_secs() < COUNT_LAG_SECS {
            Some(0)
        } else {
            let ids = [post_id];
            let counted = self.objects.posts(&*self.parts.peers, &ids);
            request::hurried(self.config.details_wait, counted).await?.likes(0)
        };
        let (post, author) = (&*post, plan.author.as_deref());
        let item = Item { post_id, post, author, like_count, liked: Some(false) };
        Ok(live::entry(plan.arrival, &item))
    }
}
