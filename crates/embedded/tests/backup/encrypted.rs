//! Copies of encrypted data: as unreadable as the data, and restored with the same key.

use std::fs;
use std::path::Path;

use embedded::backup::{self, BackupError, Options, Progress, Reader};
use embedded::encryption::{Encryption, OperatorKeys};

use crate::cloud::Cloud;
use crate::stage::{Data, Stage};

const WORD: &str = "turnip-and-carrot";

fn operator(keys: &[char]) -> OperatorKeys {
    let lines: Vec<String> = keys.iter().map(|letter| letter.to_string().repeat(64)).collect();
    OperatorKeys::parse(&lines.join("\n")).unwrap()
}

fn holds(dir: &Path, word: &str) -> bool {
    fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, word);
        }
        fs::read(path).unwrap().windows(word.len()).any(|found| found == word.as_bytes())
    })
}

/// Fills the data, and copies it by a base and by the log after it.
async fn copied(stage: &Stage) -> Data {
    let data = stage.open();
    let backup = stage.back_up(&data);
    data.put("before", WORD.to_owned()).await;
    backup.copy(true).await.unwrap();
    data.put("after", WORD.to_owned()).await;
    stage.publish(&data, 3).await;
    backup.copy(false).await.unwrap();
    data
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_hold_nothing_that_can_be_read() {
    let (plain, sealed) = (Stage::new(), Stage::encrypted(&operator(&['1'])));
    copied(&plain).await;
    copied(&sealed).await;
    for word in [WORD, "LikeCreated"] {
        assert!(holds(&plain.copies(), word), "{word}: what is looked for can be found");
        assert!(!holds(&sealed.copies(), word), "{word}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_restored_with_their_key_and_with_no_other() {
    let stage = Stage::encrypted(&operator(&['1']));
    let data = copied(&stage).await;
    let content = data.content().await;
    drop(data);
    let plan = stage.catalog().plan(None).unwrap();
    for keys in [None, Some(operator(&['2']))] {
        let refused = plan.encryption(keys.as_ref()).unwrap_err();
        assert!(matches!(refused, BackupError::Encryption(_)), "{refused}");
        assert!(!refused.to_string().contains('\n'), "{refused}");
    }
    // Damage shows without it.
    let reader = Reader::of_dir(stage.copies());
    reader.check(&stage.catalog(), &Progress::default()).await.unwrap();
    assert_eq!(plan.encryption(Some(&operator(&['1']))).unwrap(), stage.encryption);
    assert_eq!(stage.content_at(plan.at).await, content);
    let plain = Stage::new();
    copied(&plain).await;
    let plan = plain.catalog().plan(None).unwrap();
    let refused = plan.encryption(Some(&operator(&['1']))).unwrap_err();
    assert!(refused.to_string().contains("is not encrypted"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_older_moments_come_back_with_the_new_key_alone() {
    let mut stage = Stage::encrypted(&operator(&['1']));
    let data = copied(&stage).await;
    let content = data.content().await;
    let before = stage.catalog().plan(None).unwrap().at;
    drop(data);
    let dir = stage.place().with_file_name("data");
    let both = operator(&['2', '1']);
    stage.encryption = Encryption::open(&dir, Some(&both)).unwrap();
    assert!(stage.encryption.settle(&dir).unwrap());
    stage.test_clock.advance(std::time::Duration::from_secs(5));
    copied(&stage).await;
    let plan = stage.plan(before).unwrap();
    plan.encryption(Some(&operator(&['1']))).unwrap_err();
    stage.encryption = plan.encryption(Some(&operator(&['2']))).unwrap();
    assert_eq!(stage.content_at(before).await, content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_has_the_key_too_and_the_newest() {
    let (mut stage, cloud) = (Stage::encrypted(&operator(&['1'])), Cloud::new());
    let data = stage.open();
    let options = Options { bucket: Some(cloud.bucket()), ..stage.options() };
    let backup = stage.try_back_up(&data, options.clone()).unwrap();
    data.put("one", WORD.to_owned()).await;
    backup.copy(true).await.unwrap();
    drop((backup, data));
    let dir = stage.place().with_file_name("data");
    stage.encryption = Encryption::open(&dir, Some(&operator(&['2', '1']))).unwrap();
    let data = stage.open();
    let options = Options { encryption: stage.encryption.clone(), ..options };
    let backup = stage.try_back_up(&data, options).unwrap();
    data.put("two", WORD.to_owned()).await;
    backup.copy(false).await.unwrap();
    let content = data.content().await;
    drop((backup, data));
    let to = stage.place();
    let reader = Reader::of_bucket(cloud.bucket(), backup::scratch(&to).unwrap());
    let plan = reader.catalog(None).await.unwrap().plan(None).unwrap();
    plan.encryption(Some(&operator(&['1']))).unwrap_err();
    stage.encryption = plan.encryption(Some(&operator(&['2']))).unwrap();
    backup::begin(&plan, &to).unwrap();
    reader.fetch(&plan, &Progress::default()).await.unwrap();
    stage.restore(&plan, &to).unwrap();
    assert_eq!(stage.open_at(&to).content().await, content);
    for name in cloud.names().await {
        let found = cloud.read(&name).await;
        assert!(!found.windows(WORD.len()).any(|word| word == WORD.as_bytes()), "{name}");
    }
}
