//! Every option there is: as a flag, as an environment variable `MINI_SNS_...`, and as a key of the
//! configuration file; in that order the first one given counts. One table makes all three.

mod check;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};

use kernel::mail::EmailConfirmation;
use serde::Deserialize;

use crate::values::{
    Age, Backend, CopiesAt, EnvName, List, LogFormat, Origin, Percent, Secret, ServiceName, Size,
    Span,
};

macro_rules! settings {
    (
        optional { $(#[doc = $odoc:literal] $oname:ident: $otype:ty,)* }
        defaulted { $(#[doc = $doc:literal] $name:ident: $type:ty = $default:literal,)* }
    ) => {
        /// One source of options: what was left out is none.
        #[derive(Clone, Debug, Default, clap::Args, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct Layer {
            $(
                #[doc = $odoc]
                #[arg(long, help = $odoc)]
                pub(crate) $oname: Option<$otype>,
            )*
            $(
                #[doc = $doc]
                #[arg(long, help = concat!($doc, " [default: ", $default, "]"))]
                pub(crate) $name: Option<$type>,
            )*
        }

        /// What counts in the end.
        #[derive(Clone, Debug)]
        pub(crate) struct Settings {
            $(#[doc = $odoc] pub(crate) $oname: Option<$otype>,)*
            $(#[doc = $doc] pub(crate) $name: $type,)*
        }

        impl Layer {
            /// Takes from `self` first, then from `under`, then the default.
            fn over(self, under: Self) -> Settings {
                Settings {
                    $($oname: self.$oname.or(under.$oname),)*
                    $($name: self.$name.or(under.$name).unwrap_or_else(default::$name),)*
                }
            }
        }

        mod default {
            use super::*;
            $(
                pub(super) fn $name() -> $type {
                    $default.parse().expect("the built-in default reads")
                }
            )*
        }

        /// The options that have a default, with it.
        #[cfg(test)]
        const DEFAULTS: &[(&str, &str)] = &[$((stringify!($name), $default),)*];
    };
}

settings! {
    optional {
        /// Fill an example world that goes on living
        demo: bool,
        /// Certificate chain (PEM); with it and --tls-key the server speaks HTTPS, TLS 1.2 or newer
        tls_cert: PathBuf,
        /// Private key (PEM) of the certificate
        tls_key: PathBuf,
        /// `iss` of access tokens; made from the address at the first start and kept with the data
        issuer: String,
        /// For tests: deliver every event twice and in any order, by this seed
        chaos_seed: u64,
        /// Bearer token that the admin listener asks for; needed when it is not on loopback
        admin_token: String,
        /// The same in a file that only its owner may read
        admin_token_file: PathBuf,
        /// Where to keep copies that any moment of the last weeks comes back from: folder or s3://
        backup_dir: CopiesAt,
        /// Address of the service that has the bucket of --backup-dir, where it is not AWS
        backup_endpoint: String,
        /// Key that encrypts the data, 32 bytes in hexadecimal or base64; old ones after it
        encryption_key: Secret,
        /// File of the same, a key a line, that others cannot read
        encryption_key_file: PathBuf,
        /// OpenTelemetry collector (OTLP over HTTP) that traces go to; without it none are recorded
        otlp_endpoint: String,
        /// Server that takes letters, smtps://user:password@host; without it letters go to the log
        smtp_url: Secret,
        /// Sender of letters, Mini-SNS <sns@example.org>; needed with --smtp-url, on AWS for SES
        mail_from: String,
        /// Folder to read the web client from, in place of the one built in; for working on it
        web_dir: PathBuf,

        /// Region of AWS; the environment's where left out
        aws_region: String,
        /// Address of DynamoDB in place of the region's, for emulators
        dynamodb_url: String,
        /// Address of EventBridge, SQS and Cognito in place of the region's, for emulators
        aws_url: String,
        /// Cognito's user pool
        cognito_pool_id: String,
        /// The user pool's client
        cognito_client_id: String,
        /// Where the user pool's public keys are; under its issuer where left out
        cognito_keys_url: String,
        /// Redis: one address, or nodes of a cluster; without it each process caches alone
        redis_urls: List<Secret>,
        /// Whether other processes serve the same services on the same tables
        shared: bool,
        /// Address of the process that serves user, where this one does not
        peer_user_url: String,
        /// Address of the process that serves post, where this one does not
        peer_post_url: String,
        /// Address of the process that serves social, where this one does not
        peer_social_url: String,
        /// Secret of 32 bytes or more by which processes know each other; two while it is replaced
        internal_secret: List<Secret>,
    }
    defaulted {
        /// Address to serve on
        listen: SocketAddr = "127.0.0.1:8080",
        /// Address of the admin listener; never make it public
        admin_listen: SocketAddr = "127.0.0.1:9090",
        /// Data directory
        data: PathBuf = "./data",
        /// What the services run on: embedded or aws
        backend: Backend = "embedded",
        /// Services to serve, comma-separated; fewer than all four needs the aws backend
        services: List<ServiceName> = "user,post,social,timeline",
        /// Log lines: auto (pretty on a terminal, else json), pretty or json
        log_format: LogFormat = "auto",
        /// Which log lines: error, warn, info, debug, or directives such as info,fjall=warn
        log_filter: String = "info",
        /// Of a hundred traces begun here, how many are kept although nothing is wrong with them
        trace_sample_percent: Percent = "5",
        /// Requests and deliveries that take as long are kept, as are all that fail
        trace_slow: Span = "500ms",
        /// Web origins that may call from a browser, comma-separated
        cors_origins: List<Origin> = "",
        /// Proxies whose X-Forwarded-For is believed: addresses or ranges, comma-separated
        trusted_proxies: List<edge::Network> = "",
        /// Time from SIGTERM to the end, at most
        shutdown_timeout: Span = "9s",
        /// Time a request may take
        request_timeout: Span = "2500ms",
        /// Time a connection may take to send its request head
        header_read_timeout: Span = "10s",
        /// Time a request may take to send its body
        body_read_timeout: Span = "10s",
        /// Size of a request body
        body_bytes_max: Size = "64KiB",

        /// Requests at work at once; above, they are refused with 503 and Retry-After
        requests_in_flight_max: NonZeroU32 = "512",
        /// Requests a second of one user
        user_rate_per_sec: NonZeroU32 = "100",
        /// Requests of one user at once
        user_rate_burst: NonZeroU32 = "200",
        /// Requests a second of one address where nobody is signed in
        address_rate_per_sec: NonZeroU32 = "100",
        /// Requests of one address at once where nobody is signed in
        address_rate_burst: NonZeroU32 = "200",
        /// Requests a second to /auth/ of one address
        auth_rate_per_sec: NonZeroU32 = "5",
        /// Requests to /auth/ of one address at once
        auth_rate_burst: NonZeroU32 = "20",

        /// Posts before the e-mail address is confirmed: off (any), limit (3 a day), require (none)
        email_confirmation: EmailConfirmation = "off",
        /// Lifetime of access tokens
        access_token_ttl: Span = "1h",
        /// Lifetime of refresh tokens
        refresh_token_ttl: Span = "30d",
        /// Failed sign-ins of one account in the window before 429
        sign_in_failures_max: NonZeroU32 = "10",
        /// The window of failed sign-ins
        sign_in_window: Span = "15m",
        /// Characters of a new password, at least
        password_characters_min: NonZeroUsize = "8",
        /// Characters of a new password, at most
        password_characters_max: NonZeroUsize = "256",
        /// Characters of a new handle, at least
        handle_characters_min: NonZeroUsize = "3",
        /// Characters of a new handle, at most
        handle_characters_max: NonZeroUsize = "30",
        /// Characters of a display name, as people count them, at most
        display_name_characters_max: NonZeroUsize = "50",
        /// Characters of a bio, as people count them, at most
        bio_characters_max: NonZeroUsize = "300",

        /// Entries on a page where `limit` is left out
        page_limit_default: NonZeroUsize = "20",
        /// Entries on a page, at most
        page_limit_max: NonZeroUsize = "100",
        /// Ids in one list (`?ids=`), at most
        ids_max: NonZeroUsize = "100",

        /// The environment in the names of tables, bus and queues on AWS
        env_name: EnvName = "dev",
        /// How long an open session is taken for open without asking again; 0 always asks
        session_recheck: Age = "0",

        /// Posts of one user in a minute; of more than 60, those of ten seconds count as one time
        posts_per_minute: NonZeroU32 = "10",
        /// Reports of one user on a day (UTC)
        reports_per_day: NonZeroU32 = "20",
        /// Characters of a post, as people count them, at most
        post_characters_max: NonZeroUsize = "500",
        /// Characters of an Idempotency-Key, at most
        idempotency_key_characters_max: NonZeroUsize = "255",
        /// How long an Idempotency-Key is kept
        idempotency_ttl: Span = "24h",

        /// Followers above which an author's posts are merged when read
        fanout_followers_max: NonZeroUsize = "2000",
        /// Entries kept of one timeline; below them it is pulled from the authors
        feed_entries_max: NonZeroUsize = "800",
        /// Posts brought into the timeline by a follow
        backfill_posts: NonZeroUsize = "20",
        /// Time a timeline's ids are cached
        feed_cache_ttl: Span = "60s",
        /// Time a like count in a timeline may lag
        like_count_ttl: Span = "3s",

        /// Open sockets of one user
        sockets_per_user: NonZeroUsize = "20",
        /// Frames that may wait for a slow socket
        socket_frames_max: NonZeroUsize = "256",
        /// Bytes that may wait for a slow socket
        socket_bytes_max: Size = "512KiB",
        /// Time between pings on a socket
        socket_heartbeat: Span = "30s",
        /// Silence after which a socket is closed
        socket_idle_timeout: Span = "10m",
        /// Messages a second from one socket
        socket_messages_per_sec: NonZeroU32 = "100",
        /// Age of a gap above which a socket is told to resync
        socket_resume_window: Span = "24h",

        /// Time a received event stays hidden before it comes again
        queue_visibility: Span = "30s",
        /// Receives before an event goes to the dead letters
        queue_receives_max: NonZeroU32 = "2",
        /// How long events and dead letters are kept
        queue_retention: Span = "14d",

        /// Time after which copies hold what was written: what a lost disk costs at most
        backup_interval: Span = "1m",
        /// Time between two base copies of everything; a restore reads what changed since the last
        backup_base_interval: Span = "7d",
        /// How far back one can restore
        backup_retention: Span = "35d",

        /// Free space on the data's file system under which writes answer 503
        free_space_floor: Size = "16MiB",
        /// Memory for stored items, in each of the four databases
        table_cache: Size = "16MiB",
        /// Memory for timelines' ids
        feed_cache: Size = "32MiB",
        /// Memory for posts and authors as the timeline shows them
        object_cache: Size = "32MiB",
    }
}

impl Settings {
    /// Reads the configuration file, where one is named, under the flags and the environment.
    pub(crate) fn read(flags: Layer, file: Option<&Path>) -> Result<Self, String> {
        let under = file.map_or_else(|| Ok(Layer::default()), read_file)?;
        let settings = flags.over(under);
        settings.check()?;
        Ok(settings)
    }
}

fn read_file(path: &Path) -> Result<Layer, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("config: cannot read {}: {error}", path.display()))?;
    toml::from_str(&text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let line = text.get(..offset).unwrap_or_default().matches('\n').count() + 1;
        let what = error.message().replace('\n', " ");
        format!("config: {} line {line}: {what}", path.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_reads() {
        let settings = Settings::read(Layer::default(), None).unwrap();
        assert_eq!(settings.listen.port(), 8080);
        assert_eq!(settings.access_token_ttl.0.as_secs(), 3600);
        assert!(DEFAULTS.iter().any(|(name, text)| *name == "posts_per_minute" && *text == "10"));
    }

    #[test]
    fn a_flag_goes_before_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mini-sns.toml");
        std::fs::write(&file, "posts_per_minute = 7\nfeed_cache_ttl = \"5s\"\n").unwrap();
        let flags = Layer { posts_per_minute: NonZeroU32::new(3), ..Layer::default() };
        let settings = Settings::read(flags, Some(&file)).unwrap();
        assert_eq!(settings.posts_per_minute.get(), 3);
        assert_eq!(settings.feed_cache_ttl.0.as_secs(), 5);
    }

    #[test]
    fn a_bad_file_is_one_line_that_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mini-sns.toml");
        for (text, part) in [
            ("listen = \"127.0.0.1:1\"\nnonsense = 1\n", "line 2"),
            ("posts_per_minute = 0\n", "line 1"),
            ("queue_visibility = \"soon\"\n", "line 1"),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = Settings::read(Layer::default(), Some(&file)).unwrap_err();
            assert!(error.contains(part) && !error.contains('\n'), "{error}");
        }
        let error = Settings::read(Layer::default(), Some(Path::new("/no/such/file"))).unwrap_err();
        assert!(error.contains("/no/such/file"), "{error}");
    }
}
