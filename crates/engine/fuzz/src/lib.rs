//! Engine files with right checksums: without them no fuzzer gets past the first.

use std::collections::{BTreeMap, HashMap};

use pilotage_engine::{Bundle, Domain, Manifest, sections};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

type Sections<'a> = BTreeMap<String, &'a [u8]>;

/// Reading ends in an engine or an error. What was read is sound, and writing and
/// reading it again gives the same.
pub fn read(file: &[u8]) -> Option<Bundle> {
    let bundle = Bundle::read(file).ok()?;
    bundle.plan.validate().expect("what was read is sound");
    bundle.plan.layers();
    sections(file).expect("what can be read has sections");
    let written = bundle.write().expect("what was read can be written");
    let again = Bundle::read(&written).expect("what was written can be read");
    assert_eq!(again, bundle);
    Some(bundle)
}

/// The container in `file` with its checksums put right.
pub fn sealed(file: &[u8]) -> Option<Vec<u8>> {
    let container = SafeTensors::deserialize(file).ok()?;
    let (_, metadata) = SafeTensors::read_metadata(file).ok()?;
    let text = metadata.metadata().as_ref()?.get("pilotage")?;
    let mut sections = Sections::new();
    for (name, view) in container.tensors() {
        let start = view.data().as_ptr() as usize - file.as_ptr() as usize;
        sections.insert(name, &file[start..start + view.data().len()]);
    }
    sections.remove("header");
    seal(serde_json::from_str(text).ok()?, &sections)
}

/// An engine file of a plan's JSON and its constants.
pub fn of_plan(plan: &[u8], constants: &[u8]) -> Option<Vec<u8>> {
    let manifest = Manifest {
        name: "fuzz".to_owned(),
        domain: Domain::Simulated,
        precision: "int8".to_owned(),
        preprocessing: Value::Null,
        outputs: Vec::new(),
        recipe: Value::Null,
        calibration: None,
        gate: Vec::new(),
        trials: Vec::new(),
        raised: Vec::new(),
        source_sha256: String::new(),
        tool_version: String::new(),
    };
    let sections = [("plan", plan), ("constants", constants)];
    let sections = sections.map(|(name, content)| (name.to_owned(), content));
    let head = json!({ "version": 2, "manifest": manifest });
    seal(head, &sections.into_iter().collect())
}

fn seal(mut head: Value, sections: &Sections<'_>) -> Option<Vec<u8>> {
    let digests = sections.iter().map(|(name, content)| {
        let digest = Sha256::digest(content);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        (name.clone(), Value::from(digest))
    });
    head.as_object_mut()?
        .insert("sections".to_owned(), Value::Object(digests.collect()));
    let blank = [0; 32];
    let views = [("header".to_owned(), &blank[..])]
        .into_iter()
        .chain(sections.clone())
        .map(|(name, content)| {
            let view = TensorView::new(Dtype::U8, vec![content.len()], content);
            (name, view.expect("bytes are a tensor"))
        });
    let metadata = HashMap::from([("pilotage".to_owned(), head.to_string())]);
    let mut file = serialize(views, Some(metadata)).ok()?;
    let container = SafeTensors::deserialize(&file).ok()?;
    let place = container.tensor("header").ok()?.data().as_ptr() as usize - file.as_ptr() as usize;
    let header = u64::from_le_bytes(*file.first_chunk()?) as usize + 8;
    let digest = Sha256::digest(&file[..header]);
    file[place..place + digest.len()].copy_from_slice(&digest);
    Some(file)
}
