//! `USER` and `runAsUser` to numbers, by the image's own `/etc/passwd` and `/etc/group`.

use std::{
    io::Read,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use crate::{rooted::Rooted, spec::User};

/// No honest user database is larger.
const MAX_FILE_BYTES: u64 = 4 << 20;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    #[error("unable to find user {0}: no matching entries in passwd file")]
    User(String),
    #[error("unable to find group {0}: no matching entries in group file")]
    Group(String),
}

/// In layer directories, the topmost first.
pub(super) fn resolve(layers: &[PathBuf], user: &str) -> Result<User, UserError> {
    let (passwd, group) = (read(layers, "etc/passwd"), read(layers, "etc/group"));
    resolve_in(&passwd, &group, user)
}

fn resolve_in(passwd: &str, group: &str, user: &str) -> Result<User, UserError> {
    let (user, wanted_group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (user, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number: Option<u32> = user.parse().ok();
    // A number may be somebody's name, as everywhere; names come first.
    let mut entries = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|fields| fields.len() >= 4);
    let by_name = entries.clone().find(|fields| fields[0] == user);
    let entry = by_name.or_else(|| entries.find(|fields| number.is_some() && fields[2].parse().ok() == number));
    let known = entry.and_then(|fields| Some((fields[0].to_owned(), fields[2].parse().ok()?, fields[3].parse().ok()?)));
    let (name, uid, primary): (Option<String>, u32, u32) = match (known, number) {
        (Some((name, uid, gid)), _) => (Some(name), uid, gid),
        (None, Some(uid)) => (None, uid, 0),
        (None, None) => return Err(UserError::User(user.to_owned())),
    };
    let groups: Vec<Vec<&str>> =
        group.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|f| f.len() >= 4).collect();
    let gid = match wanted_group.filter(|group| !group.is_empty()) {
        None => primary,
        Some(wanted) => groups
            .iter()
            .find(|fields| fields[0] == wanted)
            .and_then(|fields| fields[2].parse().ok())
            .or_else(|| wanted.parse().ok())
            .ok_or_else(|| UserError::Group(wanted.to_owned()))?,
    };
    // As with the reference builder: naming a group leaves out the others.
    let member =
        |fields: &&Vec<&str>| name.as_deref().is_some_and(|name| fields[3].split(',').any(|member| member == name));
    let supplementary = match wanted_group {
        Some(_) => Vec::new(),
        None => {
            groups.iter().filter(member).filter_map(|fields| fields[2].parse().ok()).filter(|g| *g != gid).collect()
        }
    };
    Ok(User { uid, gid, groups: supplementary })
}

/// The file as a container would see it; empty where there is none.
fn read(layers: &[PathBuf], path: &str) -> String {
    for layer in layers {
        let Ok(root) = Rooted::open(layer) else { continue };
        match root.find(Path::new(path), OFlags::RDONLY | OFlags::NONBLOCK).map(std::fs::File::from) {
            Ok(file) => {
                let deleted = file.metadata().is_ok_and(|m| m.file_type().is_char_device() && m.rdev() == 0);
                let mut text = Vec::new();
                if !deleted && file.take(MAX_FILE_BYTES).read_to_end(&mut text).is_ok() {
                    return String::from_utf8_lossy(&text).into_owned();
                }
                return String::new();
            }
            Err(rustix::io::Errno::NOENT) => {}
            // A deletion is a device that cannot be opened.
            Err(_) => return String::new(),
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:\n7:x:70:71::/:\n";
    const GROUP: &str = "root:x:0:\napp:x:1001:\nwheel:x:10:root,app\nlog:x:4:app\n";

    #[test]
    fn users() {
        let mut shown = String::new();
        for user in ["", "app", "1000", "app:wheel", "app:55", "4242", "4242:log", "7", "nobody", "root:nogroup"] {
            shown += &match resolve_in(PASSWD, GROUP, user) {
                Ok(u) => format!("{user:?} -> {}:{} {:?}\n", u.uid, u.gid, u.groups),
                Err(error) => format!("{user:?} -> {error}\n"),
            };
        }
        check(
            &shown,
            expect![[r#"
            "" -> 0:0 [10]
            "app" -> 1000:1001 [10, 4]
            "1000" -> 1000:1001 [10, 4]
            "app:wheel" -> 1000:10 []
            "app:55" -> 1000:55 []
            "4242" -> 4242:0 []
            "4242:log" -> 4242:4 []
            "7" -> 70:71 []
            "nobody" -> unable to find user nobody: no matching entries in passwd file
            "root:nogroup" -> unable to find group nogroup: no matching entries in group file
        "#]],
        );
    }

    fn check(shown: &str, expected: Expect) {
        expected.assert_eq(shown);
    }
}
