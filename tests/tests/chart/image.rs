//! The image, as it is made without a container engine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};
use splittoken_tests::gateway;
use splittoken_tests::helm::Helm;
use tempfile::TempDir;

fn checkout(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn succeed(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{command:?}: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(said)
}

/// Makes an archive of the program that is tested.
fn archive(folder: &TempDir, name: &str) -> Result<PathBuf> {
    let archive = folder.path().join(name);
    let said = succeed(
        Command::new(checkout("tests/image/archive"))
            .arg(gateway::binary()?)
            .arg(&archive),
    )?;
    print!("{said}");
    Ok(archive)
}

fn unpack(archive: &Path, folder: &Path) -> Result<()> {
    fs::create_dir(folder)?;
    succeed(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(folder)).map(drop)
}

fn json_of(path: &Path) -> Result<Value> {
    Ok(serde_json::from_slice(
        &fs::read(path).with_context(|| path.display().to_string())?,
    )?)
}

#[test]
fn the_same_program_gives_the_same_image() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (one, other) = (archive(&folder, "one")?, archive(&folder, "other")?);
    ensure!(fs::read(one)? == fs::read(other)?);
    Ok(())
}

#[test]
fn the_image_says_by_what_name_and_as_whom_it_runs_and_its_blobs_are_what_they_are_called() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = folder.path().join("image");
    unpack(&archive(&folder, "archive")?, &at)?;
    let blob = |digest: &Value| {
        let digest = digest.as_str().unwrap_or_default().replace(':', "/");
        at.join("blobs").join(digest)
    };
    for entry in fs::read_dir(at.join("blobs/sha256"))? {
        let path = entry?.path();
        let found = digest(&SHA256, &fs::read(&path)?);
        let hex: String = found.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            path.file_name().and_then(|name| name.to_str()),
            Some(hex.as_str())
        );
    }
    // For Docker and for everybody else: the same image.
    let index = json_of(&at.join("index.json"))?;
    let manifest = json_of(&blob(&index["manifests"][0]["digest"]))?;
    let docker = json_of(&at.join("manifest.json"))?;
    let path = blob(&manifest["config"]["digest"]);
    assert_eq!(at.join(docker[0]["Config"].as_str().context("no config")?), path);
    let config = json_of(&path)?;
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["Entrypoint"], json!(["/usr/bin/splittoken"]));
    // What the chart asks for, unless told otherwise.
    let rendered = Helm::newest()?.template(&Value::Null)?;
    let pod = &rendered.get("Deployment", "splittoken-gateway")?["spec"]["template"]["spec"];
    assert_eq!(docker[0]["RepoTags"], json!([pod["containers"][0]["image"]]));
    // The Containerfile says the same.
    let containerfile = fs::read_to_string(checkout("Containerfile"))?;
    for line in [
        "USER 65532:65532",
        "ENTRYPOINT [\"/usr/bin/splittoken\"]",
        "EXPOSE 8080 9090",
    ] {
        ensure!(containerfile.lines().any(|found| found == line), "{line}");
    }
    Ok(())
}

/// Started by the image's own loader with the image's own libraries, as it would be in a container.
#[test]
fn the_program_finds_all_its_libraries_in_the_image() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("root");
    succeed(
        Command::new(checkout("tests/image/rootfs"))
            .arg(gateway::binary()?)
            .arg(&root),
    )?;
    let found = succeed(Command::new("find").arg(&root).args(["-type", "f"]))?;
    let loader = found
        .lines()
        .find(|path| path.contains("/ld-linux"))
        .context("no loader")?;
    let libraries = found.lines().find(|path| path.ends_with("/libc.so.6"));
    let libraries = Path::new(libraries.context("no C library")?)
        .parent()
        .context("no folder")?;
    let program = root.join("usr/bin/splittoken");
    let start = |argument: &str| {
        let mut command = Command::new(loader);
        command.args(["--inhibit-cache", "--library-path"]);
        command.arg(libraries).arg(&program).arg(argument);
        command
    };
    let version = succeed(&mut start("--version"))?;
    ensure!(version.starts_with("splittoken "), "{version}");
    let listed = succeed(
        Command::new(loader)
            .args(["--inhibit-cache", "--library-path"])
            .arg(libraries)
            .arg("--list")
            .arg(&program),
    )?;
    for line in listed.lines().filter(|line| line.contains("=>")) {
        ensure!(
            line.contains(&root.display().to_string()),
            "not of the image: {line}"
        );
    }
    ensure!(root.join("etc/ssl/certs/ca-certificates.crt").exists());
    ensure!(!found.contains("/bin/sh"), "{found}");
    Ok(())
}

#[test]
fn the_image_is_built_with_the_compiler_of_the_tests() -> Result<()> {
    let toolchain = fs::read_to_string(checkout("rust-toolchain.toml"))?;
    let version = toolchain
        .lines()
        .find_map(|line| line.strip_prefix("channel = "))
        .context("no channel")?
        .trim_matches('"');
    let containerfile = fs::read_to_string(checkout("Containerfile"))?;
    for line in [
        format!("FROM rust:{version}-bookworm AS build"),
        format!("ENV RUSTUP_TOOLCHAIN={version}"),
    ] {
        ensure!(containerfile.lines().any(|found| found == line), "no line {line}");
    }
    Ok(())
}
