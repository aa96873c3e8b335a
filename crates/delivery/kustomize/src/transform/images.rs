//! `images`: new names, tags and digests for the images of containers.

use coracle_yaml::{Node, Value};
use regex::Regex;

use crate::error::Trouble;
use crate::fieldspec::{FieldSpec, Make, walk};
use crate::read::Image;
use crate::resource::Resource;
use crate::scalars::{set_text, text};

pub(super) fn set(image: &Image, fields: &[FieldSpec], resources: &mut [Resource]) -> Result<(), Trouble> {
    let setter = Setter::new(image);
    for resource in resources.iter_mut().filter(|resource| resource.kind() != "CustomResourceDefinition") {
        let mark = resource.mark();
        setter.walk(&mut resource.node).map_err(|trouble| trouble.or_at(mark))?;
    }
    for resource in resources.iter_mut().filter(|resource| resource.kind() != "CustomResourceDefinition") {
        let mark = resource.mark();
        for spec in fields {
            let set = walk(&mut resource.node, spec, Make::Nothing, &mut |node| setter.set(node));
            set.map_err(|trouble| trouble.or_at(mark))?;
        }
    }
    Ok(())
}

struct Setter<'a> {
    image: &'a Image,
    /// The name is a pattern, as it always was; nothing when it is a broken one, which fits no image.
    pattern: Option<Regex>,
}

impl<'a> Setter<'a> {
    fn new(image: &'a Image) -> Self {
        let tag = "(:[a-zA-Z0-9_.{}-]*)?";
        let digest = "(@[a-zA-Z0-9]+([.+_-][a-zA-Z0-9]+)*:[a-zA-Z0-9_.{}-]*)?";
        Setter { image, pattern: Regex::new(&format!("^{}{tag}{digest}$", image.name)).ok() }
    }

    /// Containers wherever they are in the object.
    fn walk(&self, node: &mut Node) -> Result<(), Trouble> {
        match &mut node.value {
            Value::Scalar(_) => Ok(()),
            Value::Sequence(items) => items.iter_mut().try_for_each(|item| self.walk(item)),
            Value::Mapping(mapping) => mapping.iter_mut().try_for_each(|entry| {
                self.walk(&mut entry.value)?;
                match &mut entry.value.value {
                    Value::Sequence(containers) if matches!(&*entry.key, "containers" | "initContainers") => {
                        containers.iter_mut().try_for_each(|container| self.set_container(container))
                    }
                    _ => Ok(()),
                }
            }),
        }
    }

    fn set_container(&self, container: &mut Node) -> Result<(), Trouble> {
        if container.as_mapping().is_none() && !container.is_null() {
            let message = format!("containers: expected a mapping, found {}", container.describe());
            return Err(Trouble::new(container.mark, message));
        }
        container.get_mut("image").map_or(Ok(()), |image| self.set(image))
    }

    fn set(&self, node: &mut Node) -> Result<(), Trouble> {
        if node.as_text().is_none() {
            return Err(Trouble::new(node.mark, format!("expected an image, found {}", node.describe())));
        }
        if self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(text(node))) {
            let image = self.changed(text(node));
            set_text(node, &image);
        }
        Ok(())
    }

    fn changed(&self, old: &str) -> String {
        let (mut name, mut tag, mut digest) = split(old);
        let suffixed;
        let Image { new_name, new_tag, tag_suffix, digest: new_digest, .. } = self.image;
        if !new_name.is_empty() {
            name = new_name;
        }
        if !new_tag.is_empty() {
            (tag, digest) = (new_tag, new_digest);
        } else if !new_digest.is_empty() {
            (tag, digest) = ("", new_digest);
        } else if !tag_suffix.is_empty() {
            suffixed = format!("{tag}{tag_suffix}");
            (tag, digest) = (&suffixed, "");
        }
        let mut image = name.to_owned();
        if !tag.is_empty() {
            image = format!("{image}:{tag}");
        }
        if !digest.is_empty() {
            image = format!("{image}@{digest}");
        }
        image
    }
}

/// Name, tag and digest; a colon before the first slash belongs to a port.
fn split(image: &str) -> (&str, &str, &str) {
    let from = image.find('/').unwrap_or(0);
    let colon = image[from..].find(':').map(|at| from + at);
    let at_sign = image[from..].find('@').map(|at| from + at);
    match (colon, at_sign) {
        (None, None) => (image, "", ""),
        (Some(colon), Some(at)) if colon < at => (&image[..colon], &image[colon + 1..at], &image[at + 1..]),
        (_, Some(at)) => (&image[..at], "", &image[at + 1..]),
        (Some(colon), None) => (&image[..colon], &image[colon + 1..], ""),
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn images_have_a_name_a_tag_and_a_digest() {
        assert_eq!(split("nginx"), ("nginx", "", ""));
        assert_eq!(split("host:5000/a/b:1@sha256:ff"), ("host:5000/a/b", "1", "sha256:ff"));
        assert_eq!(split("a@sha256:ff"), ("a", "", "sha256:ff"));
        assert_eq!(split("host:5000/a"), ("host:5000/a", "", ""));
    }
}
