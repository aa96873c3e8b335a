//! The page's HTML.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::{
    Facts,
    model::{App, PodState, PodView},
};

/// The boat: a coracle is a small, round one.
const LOGO: &str = r#"<svg viewBox="0 0 32 32" aria-hidden="true"><path d="M3 14h26a13 11 0 0 1-26 0z" fill="currentColor"/><path d="M9 14 22 4" stroke="currentColor" stroke-width="2.5" stroke-linecap="round"/></svg>"#;

/// The page around `body`.
pub fn whole(body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Coracle" }
                link rel="stylesheet" href="/console.css";
                script src="/console.js" defer {}
            }
            body { (body) }
        }
    }
}

/// What is sent again when something changes.
pub fn body(apps: &[App], facts: &Facts) -> Markup {
    let healthy = apps.iter().filter(|app| app.health == "Healthy").count();
    html! {
        header {
            h1 { (PreEscaped(LOGO)) "Coracle" }
            p { @if apps.is_empty() { "ready" } @else { (healthy) " of " (apps.len()) " healthy" } }
        }
        main {
            @if apps.is_empty() { (welcome(facts)) }
            @for app in apps { (card(app)) }
        }
        footer { "version " (facts.version) " · " code { "export KUBECONFIG=" (facts.kubeconfig) } }
    }
}

fn welcome(facts: &Facts) -> Markup {
    html! {
        section.welcome {
            h2 { "Push a repository with a Dockerfile" }
            pre { "git push " (facts.git) "NAME.git main" }
            p { "It is built, started as three replicas, balanced and watched. Its address appears here." }
        }
    }
}

fn card(app: &App) -> Markup {
    html! {
        article class=(app.health.to_lowercase()) {
            div.head {
                h2 { (app.name) }
                span.badge { (app.health) }
                @if app.sync != "Synced" { span.badge.sync { (app.sync) } }
            }
            p.where { code { (app.revision) } " in namespace " code { (app.namespace) } }
            @for url in &app.urls { p { a href=(url) { (url) } } }
            @if !app.message.is_empty() { p.message { (app.message) } }
            div.pods { @for pod in &app.pods { (dot(pod)) } }
            @if !app.history.is_empty() {
                details {
                    summary { "history" }
                    ol { @for entry in &app.history { li { code { (entry.revision) } " " time { (entry.at) } } } }
                }
            }
        }
    }
}

fn dot(pod: &PodView) -> Markup {
    let class = match pod.state {
        PodState::Ready => "ready",
        PodState::Starting => "starting",
        PodState::Failing => "failing",
        PodState::Ending => "ending",
    };
    let restarts = match pod.restarts {
        0 => String::new(),
        1 => ", 1 restart".to_owned(),
        many => format!(", {many} restarts"),
    };
    let title = format!("{}: {}{restarts}", pod.name, pod.status);
    html! { span.pod.(class) title=(title) { span.label { (pod.status) @if pod.restarts > 0 { " ×" (pod.restarts) } } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts { version: "1".into(), git: "http://127.0.0.1:7070/".into(), kubeconfig: "/k".into() }
    }

    #[test]
    fn an_empty_engine_says_what_to_do_first() {
        assert!(body(&[], &facts()).into_string().contains("git push http://127.0.0.1:7070/NAME.git main"));
    }

    #[test]
    fn what_an_app_says_is_text_not_markup() {
        let app = App {
            name: "shop".into(),
            namespace: "shop".into(),
            revision: "0".into(),
            sync: "Synced".into(),
            health: "Degraded".into(),
            message: "<script>alert(1)</script>".into(),
            urls: vec![],
            pods: vec![],
            history: vec![],
        };
        assert!(!body(&[app], &facts()).into_string().contains("<script>alert"));
    }
}
