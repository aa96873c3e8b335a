//! `images`: other names, tags and digests for images.

use coracle_yaml::Node;
use regex::Regex;

use crate::fieldspec::{WalkError, walk};
use crate::kustomization::Image;
use crate::resource::Resource;
use crate::tables;

pub(super) fn set(image: &Image, resources: &mut [Resource]) -> Result<(), WalkError> {
    // The name is a pattern by kustomize's own doing; one that does not compile fits nothing, there as here.
    let pattern =
        format!(r"^{}(:[a-zA-Z0-9_.{{}}-]*)?(@[a-zA-Z0-9]+([.+_-][a-zA-Z0-9]+)*:[a-zA-Z0-9_.{{}}-]*)?$", image.name);
    let Ok(pattern) = Regex::new(&pattern) else { return Ok(()) };
    for resource in resources.iter_mut().filter(|resource| resource.gvk().kind != "CustomResourceDefinition") {
        for spec in tables::IMAGES.iter() {
            walk(&mut resource.node, spec, None, &mut |node| {
                if let Some(text) = node.as_text().filter(|text| pattern.is_match(text)) {
                    *node = Node::string(&replaced(image, text)).at(node.mark);
                }
                Ok(())
            })?;
        }
    }
    Ok(())
}

fn replaced(image: &Image, text: &str) -> String {
    let (name, tag, digest) = split(text);
    let mut result = if image.new_name.is_empty() { name.to_owned() } else { image.new_name.clone() };
    let (tag, digest) = match (image.new_tag.as_str(), image.digest.as_str()) {
        ("", "") if !image.tag_suffix.is_empty() => (format!("{tag}{}", image.tag_suffix), ""),
        ("", "") => (tag.to_owned(), digest),
        (tag, digest) => (tag.to_owned(), digest),
    };
    if !tag.is_empty() {
        result = format!("{result}:{tag}");
    }
    if !digest.is_empty() {
        result = format!("{result}@{digest}");
    }
    result
}

/// Name, tag and digest; the part before the first slash may hold a port, which is no tag.
fn split(image: &str) -> (&str, &str, &str) {
    let (rest, digest) = image.split_once('@').unwrap_or((image, ""));
    let host_end = rest.find('/').filter(|at| *at > 0).unwrap_or(0);
    match rest[host_end..].find(':') {
        Some(at) => (&rest[..host_end + at], &rest[host_end + at + 1..], digest),
        None => (rest, "", digest),
    }
}
