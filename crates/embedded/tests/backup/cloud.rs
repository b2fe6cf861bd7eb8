//! A bucket in memory that can be away, and can lose an answer.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use embedded::backup::Bucket;
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt, once};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

const NAME: &str = "s3://copies/of/ours";
const PREFIX: &str = "of/ours";

#[derive(Debug, Default)]
pub(crate) struct Cloud {
    objects: InMemory,
    pub(crate) away: AtomicBool,
    /// The next manifest arrives, and whoever sent it is not told.
    pub(crate) loses_answer: AtomicBool,
}

impl Cloud {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn bucket(self: &Arc<Self>) -> Bucket {
        Bucket::over(Arc::clone(self) as _, NAME).unwrap()
    }

    /// The names of all objects, as a directory of copies has them.
    pub(crate) async fn names(&self) -> Vec<String> {
        let found: Vec<ObjectMeta> = self.objects.list(None).try_collect().await.unwrap();
        let name = |object: ObjectMeta| {
            object.location.as_ref().strip_prefix(PREFIX).unwrap()[1..].to_owned()
        };
        let mut names: Vec<_> = found.into_iter().map(name).collect();
        names.sort_unstable();
        names
    }

    pub(crate) async fn read(&self, name: &str) -> Vec<u8> {
        let path = Path::from(format!("{PREFIX}/{name}"));
        self.objects.get(&path).await.unwrap().bytes().await.unwrap().to_vec()
    }

    pub(crate) async fn write(&self, name: &str, bytes: Vec<u8>) {
        let path = Path::from(format!("{PREFIX}/{name}"));
        self.objects.put(&path, bytes.into()).await.unwrap();
    }

    fn there(&self) -> Result<()> {
        if self.away.load(Ordering::SeqCst) {
            return Err(refusal("the bucket is away"));
        }
        Ok(())
    }
}

fn refusal(what: &str) -> Error {
    Error::Generic { store: "cloud", source: what.into() }
}

impl fmt::Display for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cloud")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Cloud {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.there()?;
        let put = self.objects.put_opts(path, payload, options).await?;
        let is_manifest = path.as_ref().ends_with("MANIFEST");
        if is_manifest && self.loses_answer.swap(false, Ordering::SeqCst) {
            return Err(refusal("the answer is lost"));
        }
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.there()?;
        self.objects.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.there()?;
        self.objects.get_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.objects.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.there() {
            Ok(()) => self.objects.list(prefix),
            Err(error) => once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.there()?;
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.objects.copy_opts(from, to, options).await
    }
}
