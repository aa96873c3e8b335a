//! Names of releases from templates.

use std::sync::Arc;

use coracle_gotemplate::{Context, Limits, MissingKey, Set, Value};

use super::{World, functions::HelmHost};

/// A release's name, as `--name-template` makes it: with Sprig's functions, and without values.
pub fn release_name(template: &str, world: &mut dyn World) -> Result<String, String> {
    let mut set = Set::new("name-template", Arc::new(coracle_sprig::functions()), MissingKey::Default);
    set.parse("name-template", template).map_err(|error| error.to_string())?;
    let mut host = HelmHost::new(world);
    let mut context = Context::running(&mut host, Arc::new(set), Limits::default());
    let output = context.execute("name-template", &Value::Nil).map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&output).into_owned())
}
