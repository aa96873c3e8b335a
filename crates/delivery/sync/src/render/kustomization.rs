//! Kustomizations, with their charts and their bases in other repositories of this server.

use std::{cell::RefCell, sync::Arc};

use coracle_kustomize::{ChartRequest, Options, Order, Remote, helm::InProcess};

use super::{Place, RenderError, chart::Seeded};
use crate::{
    manifest::Manifest,
    source::{KustomizeFiles, RemoteBases, Sources, Tree},
};

/// The objects of the kustomization in `directory`.
pub(super) fn built(
    tree: &dyn Tree,
    directory: &str,
    place: &Place,
    sources: Option<&dyn Sources>,
) -> Result<Vec<Manifest>, RenderError> {
    let files = KustomizeFiles::new(tree)?;
    // Each release has dice of its own, so that two charts do not make up the same password.
    let world = |request: &ChartRequest| -> Box<dyn coracle_helm::World + Send> {
        let seed = format!("{} {} {}", tree.id(), request.name, request.release_name);
        Box::new(Seeded::new(&seed, place.now))
    };
    let charts = InProcess {
        api_versions: Vec::new(),
        kube_version: None,
        only_deployed: true,
        worlds: &world,
        warnings: RefCell::default(),
    };
    let bases = sources.map(RemoteBases);
    let options = Options {
        order: Order::Fifo,
        charts: Some(&charts),
        remote: bases.as_ref().map(|bases| bases as &dyn Remote),
        ..Options::default()
    };
    let documents = coracle_kustomize::build(&files, directory, &options).map_err(|error| {
        let chain: String = error.chain.iter().rev().map(|file| format!(" (included from {file})")).collect();
        let others: String = error.others.iter().map(|other| format!("\n{other}")).collect();
        let message = error.message + &chain + &others;
        RenderError { message, file: error.file, line: error.line, column: error.column }
    })?;
    charts.warnings.take().iter().for_each(|warning| tracing::debug!(directory, warning, "rendering a chart"));
    let names = Arc::new(documents.files);
    Ok(documents.list.into_iter().map(|node| Manifest::written(node, names.clone())).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use expect_test::{Expect, expect};

    use super::{super::plan, Place};
    use crate::{
        names::Environment,
        render::tests::files,
        source::{Commit, SourceError, Sources, Tree},
    };

    /// A server with one repository, whose only branch is `main`.
    struct Server(&'static str);

    impl Sources for Server {
        fn resolve(&self, repo_url: &str, revision: &str) -> Result<Option<Commit>, SourceError> {
            if repo_url != "https://here.example/git/base" {
                return Err(SourceError::Foreign(repo_url.to_owned()));
            }
            Ok(matches!(revision, "main" | "HEAD").then(|| Commit { id: "c1".to_owned(), ..Commit::default() }))
        }

        fn tree(&self, _: &str, commit: &str) -> Result<Arc<dyn Tree>, SourceError> {
            assert_eq!(commit, "c1");
            Ok(Arc::new(files(self.0)))
        }
    }

    const BASE: &str = "-- apps/web/kustomization.yaml --\nresources: [c.yaml]\n-- apps/web/c.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: base}\n";

    fn check(text: &str, expected: Expect) {
        let place = Place { app: "hello".to_owned(), namespace: "hello".to_owned(), ..Place::default() };
        let shown = match plan(&files(text), &place, Some(&Server(BASE))) {
            Err(error) => error.to_string(),
            Ok(plan) => {
                let manifests = plan.finish(&Environment::new("hello", "main"), None);
                coracle_yaml::emit_documents(manifests.iter().map(|manifest| &manifest.object))
            }
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn bases_come_from_this_servers_repositories() {
        check(
            "-- kustomization.yaml --\nnamePrefix: my-\nresources: ['https://here.example/git/base//apps/web?ref=main']\n",
            expect![[r#"
                apiVersion: v1
                kind: ConfigMap
                metadata:
                  name: my-base
            "#]],
        );
        check(
            "-- kustomization.yaml --\nresources: ['https://there.example/git/base//apps/web?ref=main']\n",
            expect![
                "kustomization.yaml:1:13: https://there.example/git/base//apps/web?ref=main: repository https://there.example/git/base: not one of this server's; other repositories are not read yet"
            ],
        );
        check(
            "-- kustomization.yaml --\nresources: ['https://here.example/git/base//apps/web?ref=old']\n",
            expect![[
                r#"kustomization.yaml:1:13: https://here.example/git/base//apps/web?ref=old: revision "old" does not exist in https://here.example/git/base"#
            ]],
        );
    }

    #[test]
    fn charts_are_rendered_from_the_tree_and_their_tests_left_out() {
        check(
            "-- kustomization.yaml --\nhelmCharts: [{name: web, releaseName: r, valuesInline: {a: 2}}]\n-- charts/web/Chart.yaml --\napiVersion: v2\nname: web\nversion: 1.0.0\n-- charts/web/values.yaml --\na: 1\n-- charts/web/templates/a.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}'}\ndata: {a: {{ .Values.a | quote }}}\n-- charts/web/templates/t.yaml --\napiVersion: v1\nkind: Pod\nmetadata: {name: t, annotations: {helm.sh/hook: test}}\n",
            expect![[r#"
                apiVersion: v1
                data:
                  a: "2"
                kind: ConfigMap
                metadata:
                  name: r
            "#]],
        );
        check(
            "-- kustomization.yaml --\nhelmCharts: [{name: web, releaseName: r}]\n",
            expect![[r#"kustomization.yaml:1:14: there is no chart at "charts/web", and no repo to take it from"#]],
        );
    }
}
