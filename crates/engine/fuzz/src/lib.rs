//! Builds engine files with correct checksums for the fuzz targets. Without correct checksums
//! no input would get past the first check.

use std::collections::{BTreeMap, HashMap};

use pilotage_engine::conformance::{bits, infer, random_inputs};
use pilotage_engine::plan::Operation;
use pilotage_engine::{Bundle, CpuEngine, CpuOptions, Manifest, Plan, WeightStorage, sections};
use pilotage_vehicle::Domain;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Maximum work and memory of a plan that is run, so that an input takes little time.
const MOST: u64 = 1 << 20;

type Sections<'a> = BTreeMap<String, &'a [u8]>;

/// Reads an engine file, which gives a bundle or an error. Checks that the plan of a bundle is
/// valid, and that writing and reading the bundle gives the same bundle.
pub fn read(file: &[u8]) -> Option<Bundle> {
    let bundle = Bundle::read(file).ok()?;
    bundle
        .plan
        .validate()
        .expect("a plan that was read is valid");
    bundle.plan.layers();
    sections(file).expect("a file that was read has sections");
    let written = bundle
        .write()
        .expect("a bundle that was read can be written");
    let again = Bundle::read(&written).expect("a bundle that was written can be read");
    assert_eq!(again, bundle);
    Some(bundle)
}

/// The container in `file` with corrected checksums.
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

/// An engine file with this JSON of a plan and these constants.
pub fn of_plan(plan: &[u8], constants: &[u8]) -> Option<Vec<u8>> {
    let manifest = Manifest {
        name: "fuzz".to_owned(),
        domain: Domain::Simulated,
        precision: "int8".to_owned(),
        preprocessing: Value::Null,
        frame_size: None,
        outputs: Vec::new(),
        throttle: None,
        decoder: None,
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
    let head = json!({ "version": Bundle::FORMAT_VERSION, "manifest": manifest });
    seal(head, &sections.into_iter().collect())
}

/// Runs the plan (JSON, up to the first zero byte) with its constants (the rest), if it is
/// valid and small, with dense and with compressed weights. Returns whether it ran.
pub fn run(bytes: &[u8]) -> bool {
    let end = bytes.iter().position(|&byte| byte == 0);
    let (plan, constants) = bytes.split_at(end.unwrap_or(bytes.len()));
    let constants = constants.get(1..).unwrap_or_default();
    let Some(bundle) = of_plan(plan, constants).and_then(|file| read(&file)) else {
        return false;
    };
    if work(&bundle.plan) > MOST {
        return false;
    }
    let (inputs, _) = random_inputs(&bundle.plan, 1);
    let run = |weights| {
        let options = CpuOptions {
            weights,
            ..CpuOptions::default()
        };
        let mut engine = CpuEngine::new(&bundle.plan, options).ok()?;
        Some(bits(&infer(&mut engine, &inputs)))
    };
    let [dense, compressed] = [WeightStorage::Dense, WeightStorage::Compressed].map(run);
    assert_eq!(dense, compressed, "weights change the result");
    dense.is_some()
}

fn work(plan: &Plan) -> u64 {
    let layers = plan.layers();
    let steps = plan.steps.iter().zip(&layers).map(|(step, layer)| {
        let elements: u64 = layer.output.iter().map(|&size| size as u64).product();
        match &step.operation {
            Operation::Pool2d { window, .. } => {
                let [height, width] = window.kernel.map(|size| size as u64);
                elements.saturating_mul(height.saturating_mul(width))
            }
            _ => elements.saturating_add(layer.multiply_adds),
        }
    });
    let inputs = plan.tensors.iter().map(|tensor| {
        let sizes = tensor.shape.iter().map(|&size| size as u64);
        sizes.product::<u64>()
    });
    steps.chain(inputs).fold(0, u64::saturating_add)
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
