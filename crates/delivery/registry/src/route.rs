//! Which end point a path under `/v2/` is. Repository names contain slashes, so the end is looked at first.

/// An end point of the distribution specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<'a> {
    /// `/v2/`: is this a registry, and may I?
    Base,
    /// `_catalog`.
    Catalog,
    /// `NAME/tags/list`.
    Tags(&'a str),
    /// `NAME/manifests/REFERENCE`.
    Manifest(&'a str, &'a str),
    /// `NAME/blobs/DIGEST`.
    Blob(&'a str, &'a str),
    /// `NAME/blobs/uploads/`.
    Uploads(&'a str),
    /// `NAME/blobs/uploads/ID`.
    Upload(&'a str, &'a str),
    /// `NAME/referrers/DIGEST`.
    Referrers(&'a str, &'a str),
}

/// The end point at `path`, which follows `/v2/`.
pub fn parse(path: &str) -> Option<Route<'_>> {
    match path {
        "" => return Some(Route::Base),
        "_catalog" => return Some(Route::Catalog),
        _ => {}
    }
    if let Some(name) = path.strip_suffix("/tags/list") {
        return Some(Route::Tags(name));
    }
    if let Some(name) = path.strip_suffix("/blobs/uploads/").or_else(|| path.strip_suffix("/blobs/uploads")) {
        return Some(Route::Uploads(name));
    }
    let (rest, last) = path.rsplit_once('/')?;
    if let Some(name) = rest.strip_suffix("/blobs/uploads") {
        return Some(Route::Upload(name, last));
    }
    let (name, kind) = rest.rsplit_once('/')?;
    match kind {
        "manifests" => Some(Route::Manifest(name, last)),
        "blobs" => Some(Route::Blob(name, last)),
        "referrers" => Some(Route::Referrers(name, last)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    #[test]
    fn routes() {
        let mut out = String::new();
        for path in [
            "",
            "_catalog",
            "a/b/tags/list",
            "a/manifests/v1",
            "a/b/manifests/sha256:0",
            "a/blobs/sha256:0",
            "a/blobs/uploads/",
            "a/blobs/uploads/id",
            "a/referrers/sha256:0",
            "a",
            "a/b/c",
        ] {
            out += &format!("{path} => {:?}\n", super::parse(path));
        }
        expect![[r#"
             => Some(Base)
            _catalog => Some(Catalog)
            a/b/tags/list => Some(Tags("a/b"))
            a/manifests/v1 => Some(Manifest("a", "v1"))
            a/b/manifests/sha256:0 => Some(Manifest("a/b", "sha256:0"))
            a/blobs/sha256:0 => Some(Blob("a", "sha256:0"))
            a/blobs/uploads/ => Some(Uploads("a"))
            a/blobs/uploads/id => Some(Upload("a", "id"))
            a/referrers/sha256:0 => Some(Referrers("a", "sha256:0"))
            a => None
            a/b/c => None
        "#]]
        .assert_eq(&out);
    }
}
