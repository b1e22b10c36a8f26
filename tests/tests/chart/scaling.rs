//! Who says how many gateways there are, at a real API server. There is no autoscaler: the test is one.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::apiserver::ApiServer;
use splittoken_tests::helm::{Helm, NAMESPACE, RELEASE, chart};
use splittoken_tests::markdown::{blocks, commands};
use splittoken_tests::{kubectl, parts, shell};

/// The commands of the chart's README, with the number that they speak of.
fn hand_over() -> Result<(Vec<String>, u64)> {
    let readme = fs::read_to_string(chart().join("README.md"))?;
    let mut blocks = blocks(&readme).into_iter();
    let block = blocks.find(|block| block.section == "Autoscaling" && block.language == "sh");
    let text = block.context("no commands")?.text;
    let (_, number) = text.split_once("\"replicas\": ").context("no number")?;
    let number = number.split('}').next().context("no number")?.parse()?;
    Ok((commands(&text), number))
}

#[test]
fn a_number_of_gateways_is_handed_over_to_the_autoscaler_and_back_and_nothing_falls() -> Result<()> {
    let server = ApiServer::shared()?;
    let kube = server.admin()?;
    let (commands, number) = hand_over()?;
    let name = format!("{RELEASE}-gateway");
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    symlink(chart().join(".."), at("charts"))?;
    symlink(parts::path("SPLITTOKEN_KUBECTL")?, at("kubectl"))?;
    symlink(parts::path("SPLITTOKEN_HELM")?, at("helm"))?;
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH")?);
    // Other tests have the definitions.
    let values = |gateway: Value| json!({"crds": {"enabled": false}, "gateway": gateway});
    let scaled = json!({"autoscaling": {"enabled": true, "minReplicas": 3}});
    fs::write(at("values.yaml"), values(scaled.clone()).to_string())?;

    for helm in Helm::both()? {
        let who = helm.name;
        let helm = helm.at(server.kubeconfig());
        let run = |command: &[&str], gateway: &Value| {
            let chart = chart();
            let chart = chart.to_str().context("an odd path")?;
            let arguments = [command, &[RELEASE, chart, "--namespace", NAMESPACE]].concat();
            helm.run(&arguments, &values(gateway.clone()))
        };
        let replicas = || {
            let deployment = kube.find("Deployment", NAMESPACE, &name)?;
            anyhow::Ok(deployment.context("no gateway")?["spec"]["replicas"].clone())
        };
        run(&["install", "--create-namespace"], &json!({"replicas": number}))?;
        assert_eq!(replicas()?, number, "{who}");

        let variable = format!("export KUBECONFIG={}", server.kubeconfig().display());
        let script = [&[variable], &commands[..]].concat();
        shell::run("bash", &script, folder.path(), &path)?;
        assert_eq!(replicas()?, number, "{who}: handed over");
        let found = kube.find("HorizontalPodAutoscaler", NAMESPACE, &name)?;
        ensure!(found.is_some(), "{who}: no autoscaler");

        // What the autoscaler does.
        let scale = [
            "scale",
            "deployment",
            &name,
            "--namespace",
            NAMESPACE,
            "--replicas=7",
        ];
        kubectl::run(&server.kubeconfig(), &scale, &[])?;
        let mut changed = scaled.clone();
        changed["threads"] = json!(2);
        run(&["upgrade"], &changed)?;
        assert_eq!(replicas()?, 7, "{who}: a later upgrade");

        let back = json!({"replicas": 5});
        if who == "helm 4" {
            ensure!(
                run(&["upgrade"], &back).is_err(),
                "{who} takes the field without force"
            );
            run(&["upgrade", "--force-conflicts"], &back)?;
        } else {
            run(&["upgrade"], &back)?;
        }
        assert_eq!(replicas()?, 5, "{who}: back");

        // That is what the hand-over is for.
        run(&["upgrade"], &scaled)?;
        assert_eq!(replicas()?, 1, "{who}: nothing handed over");
        helm.run(&["uninstall", RELEASE, "--namespace", NAMESPACE], &Value::Null)?;
    }
    Ok(())
}
