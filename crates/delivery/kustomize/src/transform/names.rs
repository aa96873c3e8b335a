//! `namePrefix` and `nameSuffix`.

use crate::resource::Resource;

pub(super) fn add(prefix: &str, suffix: &str, resources: &mut [Resource]) {
    for (affix, is_prefix) in [(prefix, true), (suffix, false)] {
        if affix.is_empty() {
            continue;
        }
        for resource in resources.iter_mut().filter(|resource| may_change(resource)) {
            let name =
                if is_prefix { format!("{affix}{}", resource.name()) } else { format!("{}{affix}", resource.name()) };
            let affixes = if is_prefix { &mut resource.prefixes } else { &mut resource.suffixes };
            affixes.push(affix.to_owned());
            resource.store_previous();
            resource.set_name(&name);
        }
    }
}

/// The names of these kinds mean something outside the kustomization.
fn may_change(resource: &Resource) -> bool {
    let gvk = resource.original_id().gvk;
    let fixed = matches!(gvk.kind.as_str(), "CustomResourceDefinition" | "Namespace")
        || (gvk.kind == "APIService" && gvk.group == "apiregistration.k8s.io");
    !fixed
}
