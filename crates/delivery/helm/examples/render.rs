//! The smallest program that renders a chart: `render NAME CHART [VALUES-FILE]...`, `--helm3` for the older Helm's way.

use std::path::Path;

use coracle_helm::{
    Capabilities, Flavour, KubeVersion, Lookup, NoCluster, Release, Request, Shown, Warnings, World, load,
    on_deep_stack, template, values::options::Options,
};

/// Always the same time and the same dice.
struct Fixed {
    cluster: NoCluster,
    state: u64,
}

impl World for Fixed {
    fn now(&mut self) -> (i64, u32) {
        (1_700_000_000, 0)
    }

    fn random(&mut self, buffer: &mut [u8]) {
        for byte in buffer {
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.state >> 56) as u8;
        }
    }

    fn lookup(&mut self) -> &mut dyn Lookup {
        &mut self.cluster
    }
}

fn main() -> std::process::ExitCode {
    match on_deep_stack(render) {
        Ok(text) => {
            print!("{text}");
            std::process::ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("Error: {message}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn render() -> Result<String, String> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let helm3 = arguments.iter().any(|argument| argument == "--helm3");
    arguments.retain(|argument| argument != "--helm3");
    let flavour = if helm3 { Flavour::Helm3 } else { Flavour::Helm4 };
    let [name, chart, files @ ..] = arguments.as_slice() else { return Err("which chart, by what name?".to_owned()) };
    let mut options = Options::default();
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
        options.files.push((file.clone(), text));
    }
    let mut warnings = Warnings::default();
    let chart = load(Path::new(chart), flavour, &mut warnings).map_err(|error| error.to_string())?;
    let mut capabilities = Capabilities::default_of(flavour);
    capabilities.kube_version = KubeVersion::parse("1.37.0")?;
    let request = Request {
        release: Release { name: name.clone(), namespace: "default".to_owned(), is_upgrade: false, revision: 1 },
        values: options.merge(flavour, &mut |_| Err("not here".to_owned())).map_err(|error| error.to_string())?,
        capabilities,
        flavour,
        skip_schema: false,
    };
    let mut world = Fixed { cluster: NoCluster, state: 1 };
    let output = template(&chart, &request, &mut world, &mut warnings).map_err(|error| error.to_string())?;
    Ok(output.text(Shown::default()))
}
