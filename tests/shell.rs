//! Completions and manual pages know every subcommand.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pilotage"))
        .args(arguments)
        .output()
        .unwrap()
}

/// The subcommands that the help lists.
fn subcommands() -> Vec<String> {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    let listed = help.split_once("Commands:").unwrap().1;
    let listed = listed.split_once("Options:").unwrap().0;
    let names = listed.lines().filter_map(|line| {
        let line = line.strip_prefix("  ")?;
        let name = line.split(' ').next()?;
        (!name.is_empty()).then(|| name.to_owned())
    });
    let names: Vec<String> = names.collect();
    assert!(names.contains(&"drive".to_owned()), "{names:?}");
    names
}

#[test]
fn every_shell_completes_every_subcommand() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completions", shell]);
        assert!(output.status.success(), "{shell}: {output:?}");
        let script = String::from_utf8(output.stdout).unwrap();
        for name in subcommands() {
            assert!(script.contains(&name), "{shell} lacks {name}");
        }
    }
    // The file that the package installs, in the shell that every Debian has.
    let script = "PATH=$1:$PATH; source $2; COMP_WORDS=(pilotage dri) COMP_CWORD=1; \
                  _pilotage pilotage dri pilotage; echo ${COMPREPLY[@]}";
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_pilotage"));
    let completed = Command::new("bash")
        .args(["-c", script, "bash"])
        .arg(folder.parent().unwrap())
        .arg("assets/completions/pilotage.bash")
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&completed.stdout).trim(),
        "drive",
        "{completed:?}"
    );
}

#[test]
fn every_subcommand_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("man/man1");
    let output = run(&["man", into.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    for name in subcommands().iter().filter(|name| *name != "help") {
        let page = fs::read_to_string(into.join(format!("pilotage-{name}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{name}: {page}");
    }
    let file = folder.path().join("file");
    fs::write(&file, "kept").unwrap();
    let refused = run(&["man", file.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert_eq!(fs::read(&file).unwrap(), b"kept");
}
