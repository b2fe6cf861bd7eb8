//! What options have to be, alone and together. A refusal is one line that begins with the option.

use kernel::internal::SECRET_MIN_BYTES;

use super::Settings;
use crate::values::{Backend, CopiesAt, Secret, ServiceName};

impl Settings {
    /// Refuses what cannot be served.
    pub(super) fn check(&self) -> Result<(), String> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => return Err("tls_cert needs tls_key: give both or neither".into()),
            (None, Some(_)) => return Err("tls_key needs tls_cert: give both or neither".into()),
            _ => {}
        }
        check_urls(&[("otlp_endpoint", &self.otlp_endpoint)])?;
        if self.smtp_url.is_some() && self.mail_from.is_none() {
            return Err("smtp_url needs mail_from: the sender of the letters".into());
        }
        self.check_services()?;
        match self.backend {
            Backend::Embedded => self.check_embedded()?,
            Backend::Aws => self.check_aws()?,
        }
        if self.issuer.as_ref().is_some_and(|issuer| issuer.trim().is_empty()) {
            return Err("issuer: an address such as https://sns.example is wanted".into());
        }
        let has_token = self.admin_token.is_some() || self.admin_token_file.is_some();
        if !self.admin_listen.ip().is_loopback() && !has_token {
            return Err(format!(
                "admin_listen: {} is not a loopback address, so set admin_token, or its file",
                self.admin_listen
            ));
        }
        self.check_lengths()
    }

    fn check_services(&self) -> Result<(), String> {
        let services = &self.services.0;
        if services.is_empty() {
            return Err("services: name one at least".into());
        }
        for (index, service) in services.iter().enumerate() {
            if services[..index].contains(service) {
                return Err(format!("services: {} is named twice", service.word()));
            }
        }
        if self.demo == Some(true) && !self.serves_all() {
            return Err("demo: the example world needs all four services in one process".into());
        }
        Ok(())
    }

    /// Whether this process needs no other.
    pub(crate) fn serves_all(&self) -> bool {
        self.services.0.len() == ServiceName::ALL.len()
    }

    /// Refuses what the embedded backend would pass over in silence.
    fn check_embedded(&self) -> Result<(), String> {
        if !self.serves_all() {
            return Err("services: the embedded backend serves all four".into());
        }
        if self.encryption_key.is_some() && self.encryption_key_file.is_some() {
            return Err("encryption_key: give it or encryption_key_file, and not both".into());
        }
        match &self.backup_dir {
            Some(CopiesAt::Folder(dir)) if dir.starts_with(&self.data) => {
                return Err("backup_dir: it must not lie in the data directory".into());
            }
            Some(CopiesAt::Bucket(_)) => {
                check_urls(&[("backup_endpoint", &self.backup_endpoint)])?;
            }
            _ if self.backup_endpoint.is_some() => {
                return Err("backup_endpoint: it is for a backup_dir of s3://".into());
            }
            _ => {}
        }
        let given = [
            ("aws_region", self.aws_region.is_some()),
            ("dynamodb_url", self.dynamodb_url.is_some()),
            ("aws_url", self.aws_url.is_some()),
            ("cognito_pool_id", self.cognito_pool_id.is_some()),
            ("cognito_client_id", self.cognito_client_id.is_some()),
            ("cognito_keys_url", self.cognito_keys_url.is_some()),
            ("redis_urls", self.redis_urls.is_some()),
            ("shared", self.shared.is_some()),
            ("peer_user_url", self.peer_user_url.is_some()),
            ("peer_post_url", self.peer_post_url.is_some()),
            ("peer_social_url", self.peer_social_url.is_some()),
            ("internal_secret", self.internal_secret.is_some()),
            ("env_name", self.env_name.0 != "dev"),
            ("session_recheck", !self.session_recheck.0.is_zero()),
        ];
        refuse(&given, "it is for the aws backend")
    }

    /// Refuses what the AWS backend would pass over in silence, and what it cannot do without.
    fn check_aws(&self) -> Result<(), String> {
        let given = [
            ("issuer", self.issuer.is_some()),
            ("chaos_seed", self.chaos_seed.is_some()),
            ("backup_dir", self.backup_dir.is_some()),
            ("backup_endpoint", self.backup_endpoint.is_some()),
            ("encryption_key", self.encryption_key.is_some()),
            ("encryption_key_file", self.encryption_key_file.is_some()),
        ];
        refuse(&given, "it is for the embedded backend")?;
        let pool = self.cognito_pool_id.as_deref().unwrap_or_default();
        if !pool
            .split_once('_')
            .is_some_and(|(region, name)| !region.is_empty() && !name.is_empty())
        {
            return Err("cognito_pool_id: the aws backend needs one, such as eu-west-1_Ab3".into());
        }
        if self.cognito_client_id.as_ref().is_none_or(String::is_empty) {
            return Err("cognito_client_id: the aws backend needs one".into());
        }
        if self.redis_urls.as_ref().is_some_and(|urls| urls.0.is_empty()) {
            return Err("redis_urls: name one at least, or leave it out".into());
        }
        let urls = [
            ("dynamodb_url", &self.dynamodb_url),
            ("aws_url", &self.aws_url),
            ("cognito_keys_url", &self.cognito_keys_url),
            ("peer_user_url", &self.peer_user_url),
            ("peer_post_url", &self.peer_post_url),
            ("peer_social_url", &self.peer_social_url),
        ];
        check_urls(&urls)?;
        self.check_neighbours()
    }

    /// A process that does not serve all has to reach those whom it asks, and to be known to them.
    fn check_neighbours(&self) -> Result<(), String> {
        let secrets = self.internal_secret.iter().flat_map(|secrets| &secrets.0);
        let secrets: Vec<_> = secrets.map(Secret::reveal).collect();
        if secrets.iter().any(|secret| secret.len() < SECRET_MIN_BYTES) {
            return Err(format!("internal_secret: {SECRET_MIN_BYTES} bytes at least are wanted"));
        }
        if self.serves_all() {
            return Ok(());
        }
        if secrets.is_empty() {
            return Err("internal_secret: processes that share the services need one".into());
        }
        use ServiceName::{Post, Social, Timeline, User};
        // Everybody asks the user service whether a session is open.
        let asked = [
            (User, "peer_user_url", &self.peer_user_url, &[Post, Social, Timeline][..]),
            (Post, "peer_post_url", &self.peer_post_url, &[Social, Timeline]),
            (Social, "peer_social_url", &self.peer_social_url, &[Post, Timeline]),
        ];
        let serves = |service: &ServiceName| self.services.0.contains(service);
        for (service, option, url, by) in asked {
            let asks = by.iter().find(|service| serves(service));
            if let (Some(asks), None, false) = (asks, url, serves(&service)) {
                let (asks, service) = (asks.word(), service.word());
                return Err(format!("{option}: {asks} asks {service}, which is not served here"));
            }
        }
        Ok(())
    }

    /// Refuses lengths that another part could not bear.
    fn check_lengths(&self) -> Result<(), String> {
        let made_up = users::MADE_UP_HANDLE_CHARACTERS;
        let in_body = self.body_bytes_max.bytes() / CHARACTER_BYTES;
        let bounds = [
            // Users' passwords mix letters, digits and symbols, and have eight characters or more.
            ("password_characters_min", self.password_characters_min, 8..=64),
            ("password_characters_max", self.password_characters_max, 64..=1024),
            ("handle_characters_min", self.handle_characters_min, 1..=made_up),
            ("handle_characters_max", self.handle_characters_max, made_up..=100),
            ("display_name_characters_max", self.display_name_characters_max, 1..=200),
            ("bio_characters_max", self.bio_characters_max, 1..=1000.min(in_body)),
            // One read of a table gives 100 items, on either backend.
            ("page_limit_default", self.page_limit_default, 1..=self.page_limit_max.get()),
            ("page_limit_max", self.page_limit_max, 1..=100),
            ("ids_max", self.ids_max, 1..=100),
            ("post_characters_max", self.post_characters_max, 1..=in_body),
            // It ends a sort key, which has 1,023 bytes at most.
            ("idempotency_key_characters_max", self.idempotency_key_characters_max, 1..=1000),
        ];
        for (name, value, range) in bounds {
            if !range.contains(&value.get()) {
                let (min, max) = range.into_inner();
                return Err(format!("{name}: {value} is not {min} to {max}"));
            }
        }
        if self.body_bytes_max.bytes() > BODY_BYTES_MAX {
            return Err(format!("body_bytes_max: more than {} KiB", BODY_BYTES_MAX >> 10));
        }
        Ok(())
    }
}

fn check_urls(urls: &[(&str, &Option<String>)]) -> Result<(), String> {
    for (name, url) in urls {
        let good = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        if url.as_ref().is_some_and(|url| !good(url)) {
            return Err(format!("{name}: an address such as https://sns.example is wanted"));
        }
    }
    Ok(())
}

/// One line for the first option that was given and has no meaning here.
fn refuse(given: &[(&str, bool)], why: &str) -> Result<(), String> {
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) => Err(format!("{name}: {why}")),
        None => Ok(()),
    }
}

/// Bytes of a character in a request's body, with something left for what stands around the text.
const CHARACTER_BYTES: usize = 8;
/// A text of this size may become three times as long (NFC), and its event still has to fit into a
/// message of 256 KiB.
const BODY_BYTES_MAX: usize = 80 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Layer;

    /// What is wrong with a configuration file that says this.
    fn read(text: &str) -> Result<Settings, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mini-sns.toml");
        std::fs::write(&file, text).unwrap();
        Settings::read(Layer::default(), Some(&file))
    }

    const AWS: &str = "backend = \"aws\"\ncognito_pool_id = \"eu-west-1_Ab3\"\n\
                       cognito_client_id = \"client\"\n";

    #[test]
    fn what_aws_needs_and_what_it_does_not_know_is_told_in_one_line() {
        let secret = format!("internal_secret = \"{}\"\n", "s".repeat(32));
        let (timeline, social) = ("services = \"timeline\"\n", "services = \"social,user\"\n");
        for (options, told) in [
            ("backend = \"aws\"", "cognito_pool_id: the aws backend needs one"),
            ("backend = \"aws\"\ncognito_pool_id = \"Ab3\"", "cognito_pool_id: the aws"),
            ("backend = \"aws\"\ncognito_pool_id = \"x_y\"", "cognito_client_id: the aws"),
            (&format!("{AWS}issuer = \"https://sns.example\""), "issuer: it is for the embedded"),
            (&format!("{AWS}chaos_seed = 7"), "chaos_seed: it is for the embedded backend"),
            (&format!("{AWS}backup_dir = \"b\""), "backup_dir: it is for the embedded backend"),
            ("data = \"d\"\nbackup_dir = \"d/b\"", "backup_dir: it must not lie in the data"),
            ("backup_endpoint = \"http://s3\"", "backup_endpoint: it is for a backup_dir of s3://"),
            ("backup_dir = \"s3://b\"\nbackup_endpoint = \"s3\"", "backup_endpoint: an address"),
            (&format!("{AWS}aws_url = \"here\""), "aws_url: an address such as"),
            (&format!("{AWS}redis_urls = []"), "redis_urls: name one at least"),
            (&format!("{AWS}services = []"), "services: name one at least"),
            (&format!("{AWS}services = \"user,user\""), "services: user is named twice"),
            (&format!("{AWS}{timeline}"), "internal_secret: processes that share the services"),
            (&format!("{AWS}internal_secret = \"hush\""), "internal_secret: 32 bytes at least"),
            (&format!("{AWS}{secret}{timeline}"), "peer_user_url: timeline asks user, which is"),
            (&format!("{AWS}{secret}{social}"), "peer_post_url: social asks post, which is not"),
            (&format!("{AWS}{secret}{social}demo = true"), "demo: the example world needs all"),
            ("otlp_endpoint = \"collector:4318\"", "otlp_endpoint: an address such as"),
            ("services = \"user\"", "services: the embedded backend serves all four"),
            ("shared = true", "shared: it is for the aws backend"),
            ("session_recheck = \"2s\"", "session_recheck: it is for the aws backend"),
            ("redis_urls = \"redis://:hush@h\"", "redis_urls: it is for the aws backend"),
        ] {
            let line = read(options).unwrap_err();
            assert!(line.starts_with(told) && !line.contains('\n'), "{options}: {line}");
            assert!(!line.contains("hush"), "{line}");
        }
        assert!(read(AWS).unwrap().serves_all());
        let peers = "peer_user_url = \"http://u\"\npeer_post_url = \"http://p\"\n";
        let post = "services = \"post\"\npeer_user_url = \"http://u\"\n";
        let asked = "peer_social_url = \"http://s\"\n";
        let line = read(&format!("{AWS}{secret}{post}")).unwrap_err();
        assert!(line.starts_with("peer_social_url: post asks social"), "{line}");
        for options in [format!("{social}{peers}"), format!("{post}{asked}")] {
            read(&format!("{AWS}{secret}{options}")).unwrap();
        }
        read(&format!("{AWS}services = \"user\"\n{secret}")).unwrap();
    }

    #[test]
    fn lengths_that_another_part_could_not_bear_are_refused() {
        for (text, told) in [
            ("password_characters_min = 7", "password_characters_min: 7 is not 8 to 64"),
            ("password_characters_max = 63", "password_characters_max: 63 is not 64 to 1024"),
            ("handle_characters_min = 18", "handle_characters_min: 18 is not 1 to 17"),
            ("handle_characters_max = 16", "handle_characters_max: 16 is not 17 to 100"),
            ("display_name_characters_max = 201", "display_name_characters_max: 201 is not 1 to"),
            ("bio_characters_max = 1001", "bio_characters_max: 1001 is not 1 to 1000"),
            ("post_characters_max = 8193", "post_characters_max: 8193 is not 1 to 8192"),
            ("body_bytes_max = \"2KiB\"", "bio_characters_max: 300 is not 1 to 256"),
            ("body_bytes_max = \"81KiB\"", "body_bytes_max: more than 80 KiB"),
            ("idempotency_key_characters_max = 1001", "idempotency_key_characters_max: 1001"),
            ("page_limit_max = 101", "page_limit_max: 101 is not 1 to 100"),
            ("page_limit_max = 10", "page_limit_default: 20 is not 1 to 10"),
            ("ids_max = 101", "ids_max: 101 is not 1 to 100"),
        ] {
            let line = read(text).unwrap_err();
            assert!(line.starts_with(told) && !line.contains('\n'), "{text}: {line}");
        }
        let settings = read("post_characters_max = 280\nhandle_characters_max = 17").unwrap();
        assert_eq!(settings.posts().text_characters_max, 280);
        assert_eq!(settings.users().handle_characters_max, 17);
        let defaults = Settings::read(Layer::default(), None).unwrap();
        assert_eq!(defaults.users(), users::Config::default());
        assert_eq!(defaults.posts(), posts::Config::default());
        assert_eq!(defaults.social(), social::Config::default());
    }
}
