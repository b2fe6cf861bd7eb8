//! The options as each part wants them.

#[cfg(feature = "aws")]
mod aws;

use std::net::SocketAddr;
use std::num::NonZeroU32;

use embedded::backup::Bucket;
use embedded::encryption::Encryption;
use embedded::feed::FeedLimits;
use embedded::sockets::HubLimits;
use embedded::{backup, bus, identity, table};
use kernel::Limits;
use kernel::bus::QueuePolicy;
use kernel::limiter::Rate;
use kernel::mail::EmailConfirmation;
use kernel::sockets::MailboxLimits;

use crate::failure::Failure;
use crate::settings::Settings;
use crate::values::CopiesAt;

/// Where copies wait for the bucket, in the data directory.
const SPOOL: &str = "spool";

fn rate(per_sec: NonZeroU32, burst: NonZeroU32) -> Rate {
    Rate { per_sec: per_sec.get(), burst: burst.get() }
}

fn count(number: NonZeroU32) -> usize {
    usize::try_from(number.get()).unwrap_or(usize::MAX)
}

impl Settings {
    pub(crate) fn table(&self, encryption: &Encryption) -> table::Options {
        table::Options {
            encryption: encryption.clone(),
            hidden_sorts: &[users::SORTED_BY_NAMES],
            cache_bytes: self.table_cache.0,
            free_space_floor_bytes: self.free_space_floor.0,
            ..table::Options::default()
        }
    }

    /// How copies are kept, where they are.
    pub(crate) fn backup(
        &self,
        encryption: &Encryption,
    ) -> Result<Option<backup::Options>, Failure> {
        let (dir, bucket) = match &self.backup_dir {
            None => return Ok(None),
            Some(CopiesAt::Folder(dir)) => (dir.clone(), None),
            Some(CopiesAt::Bucket(address)) => {
                let bucket = Bucket::open(address, self.backup_endpoint.as_deref());
                let refused = |error| Failure::usage(format!("backup_dir: {error}"));
                (self.data.join(SPOOL), Some(bucket.map_err(refused)?))
            }
        };
        Ok(Some(backup::Options {
            dir,
            bucket,
            encryption: encryption.clone(),
            interval: self.backup_interval.0,
            base_interval: self.backup_base_interval.0,
            retention: self.backup_retention.0,
            ..backup::Options::default()
        }))
    }

    pub(crate) fn queues(&self) -> QueuePolicy {
        QueuePolicy {
            visibility: self.queue_visibility.0,
            receives_max: self.queue_receives_max.get(),
            retention: self.queue_retention.0,
        }
    }

    pub(crate) fn bus(&self, encryption: &Encryption) -> bus::Options {
        let encryption = encryption.clone();
        bus::Options { chaos: self.chaos_seed, encryption, ..bus::Options::default() }
    }

    pub(crate) fn hub(&self) -> HubLimits {
        HubLimits {
            sockets_max: self.sockets_per_user.get(),
            mailbox: MailboxLimits {
                frames_max: self.socket_frames_max.get(),
                bytes_max: self.socket_bytes_max.bytes(),
            },
        }
    }

    pub(crate) fn feed(&self) -> FeedLimits {
        FeedLimits { bytes_max: self.feed_cache.0, kept: self.feed_cache_ttl.0 }
    }

    pub(crate) fn identity(&self, issuer: String, encryption: &Encryption) -> identity::Config {
        identity::Config {
            issuer,
            encryption: encryption.clone(),
            access_token_ttl_secs: self.access_token_ttl.0.as_secs().max(1),
            refresh_token_ttl_secs: self.refresh_token_ttl.0.as_secs().max(1),
            failed_sign_ins_max: count(self.sign_in_failures_max),
            failed_sign_ins_window_secs: self.sign_in_window.0.as_secs().max(1),
            ..identity::Config::default()
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            page_default: self.page_limit_default.get(),
            page_max: self.page_limit_max.get(),
            ids_max: self.ids_max.get(),
        }
    }

    pub(crate) fn social(&self) -> social::Config {
        let config = social::Config { limits: self.limits(), ..social::Config::default() };
        if self.is_shared() { config.for_several_processes() } else { config }
    }

    /// Whether other processes serve the same services on the same tables.
    fn is_shared(&self) -> bool {
        self.shared == Some(true)
    }

    pub(crate) fn users(&self) -> users::Config {
        users::Config {
            limits: self.limits(),
            handle_characters_min: self.handle_characters_min.get(),
            handle_characters_max: self.handle_characters_max.get(),
            password_characters_min: self.password_characters_min.get(),
            password_characters_max: self.password_characters_max.get(),
            display_name_characters_max: self.display_name_characters_max.get(),
            bio_characters_max: self.bio_characters_max.get(),
            asks_for_confirmation: self.email_confirmation != EmailConfirmation::Off,
            ..users::Config::default()
        }
    }

    pub(crate) fn posts(&self) -> posts::Config {
        let config = posts::Config {
            limits: self.limits(),
            text_characters_max: self.post_characters_max.get(),
            idempotency_key_characters_max: self.idempotency_key_characters_max.get(),
            posts_per_minute: count(self.posts_per_minute),
            reports_per_day: count(self.reports_per_day),
            idempotency_secs: self.idempotency_ttl.0.as_secs().max(1),
            ..posts::Config::default()
        };
        let config = config.confirming(self.email_confirmation);
        if self.is_shared() { config.for_several_processes() } else { config }
    }

    pub(crate) fn timeline(&self) -> timeline::Config {
        let config = timeline::Config {
            limits: self.limits(),
            big_followers: i64::try_from(self.fanout_followers_max.get()).unwrap_or(i64::MAX),
            // Some more than a resume brings: rows are cut by id, and a gap is of arrivals.
            feed_rows_max: self.feed_entries_max.get() + 32,
            resume_entries_max: self.feed_entries_max.get(),
            backfill_posts: self.backfill_posts.get(),
            resume: self.socket_resume_window.0,
            post_bytes_max: self.object_cache.0 / 8 * 5,
            author_bytes_max: self.object_cache.0 / 4,
            page_bytes_max: self.object_cache.0 / 8,
            // A count that is read just before its time is up is shown a little later.
            like_count_kept: self.like_count_ttl.0 * 2 / 3,
            origins: self.origins(),
            heartbeat: self.socket_heartbeat.0,
            idle: self.socket_idle_timeout.0,
            messages_per_sec: self.socket_messages_per_sec.get(),
            ..timeline::Config::default()
        };
        if self.is_shared() { config.for_several_processes() } else { config }
    }

    pub(crate) fn edge(&self) -> edge::Config {
        edge::Config {
            body_max_bytes: self.body_bytes_max.bytes(),
            body_timeout_secs: self.body_read_timeout.0.as_secs().max(1),
            deadline_millis: u64::try_from(self.request_timeout.0.as_millis()).unwrap_or(u64::MAX),
            requests_max: count(self.requests_in_flight_max),
            user_rate: rate(self.user_rate_per_sec, self.user_rate_burst),
            address_rate: rate(self.address_rate_per_sec, self.address_rate_burst),
            auth_rate: rate(self.auth_rate_per_sec, self.auth_rate_burst),
            trusted_proxies: self.trusted_proxies.0.clone(),
            cors_origins: self.origins(),
            https: self.tls_cert.is_some(),
            trace_sample_percent: self.trace_sample_percent.0,
            ..edge::Config::default()
        }
    }

    fn origins(&self) -> Vec<String> {
        self.cors_origins.0.iter().map(|origin| origin.0.clone()).collect()
    }

    /// The `iss` of access tokens where none was asked for and none is kept with the data.
    pub(crate) fn first_issuer(&self) -> String {
        if let Some(issuer) = &self.issuer {
            return issuer.clone();
        }
        let scheme = if self.tls_cert.is_some() { "https" } else { "http" };
        let listen: SocketAddr = self.listen;
        format!("{scheme}://{listen}")
    }
}
