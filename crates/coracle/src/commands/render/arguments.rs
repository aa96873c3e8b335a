//! The arguments of a render, read as the real tools read theirs: the same words and exit code for wrong ones, flags with
//! `=true` and `=false`, the last of a flag given twice.
//!
//! Only these two commands are described to the parser: an alias is called often, and starts the sooner for it.

use std::{error::Error, ffi::OsString, process::ExitCode};

use clap::{
    ArgAction, Command, CommandFactory, FromArgMatches, Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::Render;

#[derive(Debug, Parser)]
#[command(name = "coracle render", bin_name = "coracle render", version)]
struct Alone {
    #[command(flatten)]
    render: Render,
}

/// The render asked for by the words after `render`; what is wrong with them is told here.
pub fn parse(words: &[OsString]) -> Result<Render, ExitCode> {
    let failed = |message: String| {
        eprintln!("Error: {message}");
        ExitCode::FAILURE
    };
    let command = command();
    let normal = normal(&command, words).map_err(failed)?;
    let line = std::iter::once(OsString::from("coracle render")).chain(normal);
    match command.try_get_matches_from(line).and_then(|matches| Alone::from_arg_matches(&matches)) {
        Ok(alone) => Ok(alone.render),
        Err(error) if !error.use_stderr() => {
            let _ = error.print();
            Err(ExitCode::SUCCESS)
        }
        Err(error) => Err(failed(told(&error, words))),
    }
}

/// The command, as lenient as the real ones: a flag's value may begin with a dash, and the last of several counts.
fn command() -> Command {
    Alone::command().mut_subcommands(|command| {
        command.args_override_self(true).mut_args(|argument| {
            let takes_a_value = !argument.is_positional() && argument.get_action().takes_values();
            if takes_a_value && argument.get_num_args().is_none() {
                argument.allow_hyphen_values(true)
            } else {
                argument
            }
        })
    })
}

/// The words with `--flag=true` as `--flag`, and without `--flag=false`.
fn normal(command: &Command, words: &[OsString]) -> Result<Vec<OsString>, String> {
    let Some(renderer) = words.first().and_then(|name| command.find_subcommand(name)) else {
        return Ok(words.to_vec());
    };
    let mut normal = Vec::with_capacity(words.len());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            normal.push(word.clone());
            normal.extend(words.cloned());
            break;
        }
        let split = word.to_str().and_then(|word| word.strip_prefix("--")?.split_once('='));
        let switch = split.and_then(|(name, value)| {
            let argument = renderer.get_arguments().find(|argument| argument.get_long() == Some(name))?;
            matches!(argument.get_action(), ArgAction::SetTrue).then_some((argument, name, value))
        });
        match switch {
            None => normal.push(word.clone()),
            Some((argument, name, value)) => match go_bool(value) {
                Some(true) => normal.push(format!("--{name}").into()),
                Some(false) => {}
                None => {
                    let short = argument.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
                    return Err(format!(
                        "invalid argument {value:?} for \"{short}--{name}\" flag: strconv.ParseBool: parsing {value:?}: \
                         invalid syntax"
                    ));
                }
            },
        }
    }
    Ok(normal)
}

fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// What the real tools would say.
fn told(error: &clap::Error, words: &[OsString]) -> String {
    let named = |kind: ContextKind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let flag = named(ContextKind::InvalidArg).unwrap_or_default();
    let is_missing = named(ContextKind::InvalidValue).is_none_or(str::is_empty);
    match error.kind() {
        ErrorKind::UnknownArgument if flag.starts_with("--") => format!("unknown flag: {flag}"),
        ErrorKind::UnknownArgument if flag.starts_with('-') => {
            let short = flag.chars().nth(1).unwrap_or('-');
            let mut words = words.iter().filter_map(|word| word.to_str());
            let cluster = words.find(|word| !word.starts_with("--") && word.starts_with('-') && word.contains(short));
            format!("unknown shorthand flag: '{short}' in {}", cluster.unwrap_or(flag))
        }
        ErrorKind::InvalidValue if flag.starts_with('-') && is_missing => {
            let last = words.last().and_then(|word| word.to_str()).unwrap_or_default();
            match last.chars().last().filter(|_| !last.starts_with("--")) {
                Some(short) => format!("flag needs an argument: '{short}' in {last}"),
                None => format!("flag needs an argument: {last}"),
            }
        }
        ErrorKind::ValueValidation => error.source().map(ToString::to_string).unwrap_or_default(),
        _ => error.to_string().trim_start_matches("error: ").trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read from a command line, or what is said of it.
    fn read(line: &str) -> Result<Render, String> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let command = command();
        let normal = normal(&command, &words)?;
        let line = std::iter::once(OsString::from("coracle render")).chain(normal);
        let matches = command.try_get_matches_from(line).map_err(|error| told(&error, &words))?;
        Alone::from_arg_matches(&matches).map(|alone| alone.render).map_err(|error| told(&error, &words))
    }

    #[track_caller]
    fn refused(line: &str, words: &str) {
        assert_eq!(read(line).expect_err("a wrong line"), words);
    }

    #[test]
    fn wrong_flags_are_refused_in_the_real_words() {
        refused("helm a b --foo", "unknown flag: --foo");
        refused("helm -Z a b", "unknown shorthand flag: 'Z' in -Z");
        refused("helm a b --set", "flag needs an argument: --set");
        refused("helm a b -f", "flag needs an argument: 'f' in -f");
        refused(
            "helm a b --include-crds=maybe",
            "invalid argument \"maybe\" for \"--include-crds\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
        );
        refused("kustomize --foo", "unknown flag: --foo");
        refused(
            "kustomize --load-restrictor x",
            "illegal flag value --load-restrictor x; legal values: [LoadRestrictionsRootOnly LoadRestrictionsNone]",
        );
        refused("kustomize --output", "flag needs an argument: --output");
    }

    #[test]
    fn flags_are_as_lenient_as_the_real_ones() {
        let Ok(Render { renderer: super::super::Renderer::Helm(helm) }) = read(
            "helm a b --include-crds=true --skip-tests=false --namespace x --namespace -y --version 1 --set a=1 --set -b=2",
        ) else {
            panic!("a chart");
        };
        assert!(helm.include_crds && !helm.skip_tests);
        assert_eq!(helm.namespace.as_deref(), Some("-y"));
        assert_eq!(helm.set, ["a=1", "-b=2"]);
    }
}
