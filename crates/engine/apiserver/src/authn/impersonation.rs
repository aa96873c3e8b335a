//! Acting as somebody else: the `Impersonate-*` headers, each of which needs the right to `impersonate`.

use std::{collections::BTreeMap, sync::Arc};

use http::HeaderMap;

use super::{AUTHENTICATED, UNAUTHENTICATED, User};
use crate::{
    authz::{Attributes, Authorizer, Decision, Selectors},
    request::info::percent_decode,
    status::{Failure, GroupResource},
};

const EXTRA: &str = "impersonate-extra-";
const ACCOUNT: &str = "system:serviceaccount:";

/// The user to act as: the one who asks, or whom they may impersonate.
pub fn effective(headers: &HeaderMap, user: Arc<User>, authorizer: &dyn Authorizer) -> Result<Arc<User>, Failure> {
    let one = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let name = one("impersonate-user").unwrap_or_default();
    let uid = one("impersonate-uid").unwrap_or_default();
    let mut groups: Vec<String> = headers
        .get_all("impersonate-group")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .map(str::to_owned)
        .collect();
    let extra = extra(headers);
    if name.is_empty() {
        return if groups.is_empty() && extra.is_empty() && uid.is_empty() {
            Ok(user)
        } else {
            Err(Failure::internal(format!("requested {groups:?} without impersonating a user")))
        };
    }
    let may = |resource: &str, subresource: &str, group: &str, namespace: &str, name: &str| {
        let attributes = Attributes {
            user: &user,
            verb: "impersonate",
            api_group: group,
            api_version: "v1",
            resource,
            subresource,
            namespace,
            name,
            path: "",
            resource_request: true,
            selectors: Selectors::default(),
        };
        match authorizer.authorize(&attributes) {
            Decision::Allow { .. } => Ok(()),
            _ => Err(Failure::forbidden(GroupResource { group, resource }, name, &attributes.denial())),
        }
    };
    match name.strip_prefix(ACCOUNT).and_then(|rest| rest.split_once(':')) {
        Some((namespace, account)) => {
            may("serviceaccounts", "", "", namespace, account)?;
            if groups.is_empty() {
                groups = vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")];
            }
        }
        None => may("users", "", "", "", &name)?,
    }
    for group in headers.get_all("impersonate-group").iter().filter_map(|value| value.to_str().ok()) {
        may("groups", "", "", "", group)?;
    }
    const AUTHENTICATION: &str = "authentication.k8s.io";
    for (key, value) in extra.iter().flat_map(|(key, values)| values.iter().map(move |value| (key, value))) {
        may("userextras", key, AUTHENTICATION, "", value)?;
    }
    if !uid.is_empty() {
        may("uids", "", AUTHENTICATION, "", &uid)?;
    }
    let anonymous = name == "system:anonymous";
    let standing = if anonymous { UNAUTHENTICATED } else { AUTHENTICATED };
    if !groups.iter().any(|group| group == AUTHENTICATED || group == UNAUTHENTICATED) {
        groups.push(standing.into());
    }
    Ok(Arc::new(User { name, uid, groups, extra }))
}

fn extra(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let (Some(key), Ok(value)) = (name.as_str().strip_prefix(EXTRA), value.to_str()) else { continue };
        extra.entry(percent_decode(key)).or_default().push(value.to_owned());
    }
    extra
}
