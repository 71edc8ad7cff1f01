//! The published figures of the reference: Nikhil Paliwal's "Results summary" of 1 September 2022
//! (Google Summer of Code, JdeRobot), <https://theroboticsclub.github.io/gsoc2022-Nikhil_Paliwal/gsoc/Results-Summary/>,
//! as in docs/_posts/2022-09-01-Results-Summary.md of TheRoboticsClub/gsoc2022-Nikhil_Paliwal. The
//! figures of PyTorch are also in Formula1-FollowLine/pytorch/README.md of JdeRobot/DeepLearningStudio.

/// The page, for the table's readers.
pub const SOURCE: &str =
    "https://theroboticsclub.github.io/gsoc2022-Nikhil_Paliwal/gsoc/Results-Summary/";

/// A row of "Offline Evaluation".
#[derive(Debug)]
pub struct Offline {
    /// The method, as the page names it.
    pub method: &'static str,
    /// What ran it.
    pub framework: &'static str,
    /// The row of this project's table that does the same; none for plans of TensorRT.
    pub row: Option<&'static str>,
    /// Size in mebibytes, mean squared error, seconds for an image.
    pub figures: [f64; 3],
}

const fn offline(
    method: &'static str,
    framework: &'static str,
    row: Option<&'static str>,
    figures: [f64; 3],
) -> Offline {
    Offline {
        method,
        framework,
        row,
        figures,
    }
}

const TF: &str = "TensorFlow";
const TF_TRT: &str = "TensorFlow, TensorRT";
const LITE: &str = "TensorFlow Lite";
const TORCH: &str = "PyTorch";

/// The rows of "Offline Evaluation".
///
/// By its size, "Weight pruning + Q" is quantized as "Dynamic Range Q" is. "Prune + Quantization" is
/// local pruning, then quantization-aware training (the post on week 12).
#[rustfmt::skip]
pub const OFFLINE: [Offline; 22] = [
    offline("PilotNet", TF, Some("float32"), [195.0, 0.041, 0.0364]),
    offline("Baseline", LITE, Some("float32"), [64.9173469543457, 0.04108056542969754, 0.007913553237915039]),
    offline("Dynamic Range Q", LITE, Some("int8-dynamic"), [16.242530822753906, 0.04098070281274293, 0.004902467966079712]),
    offline("Float16 Q", LITE, Some("float16"), [32.464256286621094, 0.041072421023905605, 0.007940708875656129]),
    offline("Q aware training", LITE, Some("qat"), [16.250564575195312, 0.042138221871067326, 0.009550530910491944]),
    offline("Weight pruning", LITE, Some("prune"), [64.9173469543457, 0.04257505210072217, 0.0077278904914855956]),
    offline("Weight pruning + Q", LITE, Some("prune-int8"), [16.242530822753906, 0.042606822364652304, 0.004810283422470093]),
    offline("Integer only Q", LITE, Some("int8-integer"), [16.244918823242188, 28157.721509850544, 0.007908073902130127]),
    offline("Integer (float fallback) Q", LITE, Some("int8-mixed"), [16.244888305664062, 0.04507085706016211, 0.00781548523902893]),
    offline("CQAT", LITE, Some("cqat"), [16.250564575195312, 0.0393811650675438, 0.007680371761322021]),
    offline("PQAT", LITE, Some("pqat"), [16.250564575195312, 0.043669467093106665, 0.007949142932891846]),
    offline("PCQAT", LITE, Some("pcqat"), [16.250564575195312, 0.039242053481006144, 0.007946955680847167]),
    offline("Precision fp32", TF_TRT, None, [260.0, 0.04103255125749467, 0.0013057808876037597]),
    offline("Precision fp16", TF_TRT, None, [260.0, 0.04103255125749467, 0.0021804444789886475]),
    offline("Precision int8", TF_TRT, None, [260.0, 0.04103255125749467, 0.0011799652576446533]),
    offline("Baseline", TORCH, Some("float32"), [6.118725776672363, 0.07883577048224175, 0.002177743434906006]),
    offline("Dynamic Range Q", TORCH, Some("int8-dynamic"), [1.9464960098266602, 0.07840978354769981, 0.003166124105453491]),
    offline("Static Q", TORCH, Some("int8"), [1.6051549911499023, 0.07881803711366263, 0.0026564240455627442]),
    offline("Q aware training", TORCH, Some("qat"), [1.606736183166504, 0.07080468241058822, 0.0027930240631103514]),
    offline("Local Prune", TORCH, Some("prune-local"), [6.119879722595215, 0.07294941230377715, 0.0020925970077514647]),
    offline("Global Prune", TORCH, Some("prune-global"), [6.119948387145996, 0.07079961896774226, 0.00215102481842041]),
    offline("Prune + Quantization", TORCH, Some("prune-qat"), [1.606797218322754, 0.06724451272748411, 0.002662529468536377]),
];

/// A row of "Simulation".
#[derive(Debug)]
pub struct Driven {
    /// The method, as the page names it.
    pub method: &'static str,
    /// The row of this project's table that does the same; none for plans of TensorRT.
    pub row: Option<&'static str>,
    /// Average speed (m/s), position deviation MAE, brain iteration frequency (Hz), mean inference
    /// time (s), real time factor; none where the page has none.
    pub figures: [Option<f64>; 5],
}

const fn driven(
    method: &'static str,
    row: Option<&'static str>,
    figures: [Option<f64>; 5],
) -> Driven {
    Driven {
        method,
        row,
        figures,
    }
}

/// The rows of the circuit "SimpleCircuit".
#[rustfmt::skip]
pub const SIMPLE: [Driven; 10] = [
    driven("PilotNet (original)", Some("float32"), [Some(8.386), Some(7.406), Some(5.585), Some(0.124), Some(0.557)]),
    driven("Dynamic Range Q (TensorFlow Lite)", Some("int8-dynamic"), [Some(8.534), Some(6.693), Some(58.474), Some(0.010), Some(0.54)]),
    driven("TF-TRT Baseline", None, [Some(8.536), Some(5.06), Some(73.37), Some(0.0063), Some(0.47)]),
    driven("TF-TRT FP32", None, [Some(8.32), Some(4.94), Some(60.28), Some(0.0065), Some(0.50)]),
    driven("TF-TRT FP16", None, [Some(8.14), Some(5.39), Some(71.90), Some(0.0056), Some(0.48)]),
    driven("TF-TRT Int8", None, [Some(8.01), Some(6.65), Some(59.36), Some(0.0067), Some(0.51)]),
    driven("Global Prune (PyTorch)", Some("prune-global"), [Some(7.73), Some(17.03), Some(42.90), Some(0.0023), Some(0.508)]),
    driven("Local Prune (PyTorch)", Some("prune-local"), [Some(7.74), Some(14.15), Some(32.57), Some(0.0027), Some(0.428)]),
    driven("QAT (PyTorch)", Some("qat"), [Some(7.94), Some(11.47), Some(26.45), Some(0.0188), Some(0.45)]),
    driven("Prune + Quantization (PyTorch)", Some("prune-qat"), [Some(8.84), Some(4.61), Some(34.40), Some(0.0125), Some(0.51)]),
];

/// The rows of the circuit "Montreal", its long one. The page has no real time factor there.
#[rustfmt::skip]
pub const MONTREAL: [Driven; 4] = [
    driven("PilotNet (circuit not completed)", Some("float32"), [Some(9.431), None, None, Some(0.1228), None]),
    driven("TF-TRT FP32", None, [Some(10.12), Some(6.55), Some(70.88), Some(0.0062), None]),
    driven("TF-TRT FP16", None, [Some(10.05), Some(6.2), Some(99.30), Some(0.0049), None]),
    driven("TF-TRT Int8", None, [Some(10.23), Some(6.02), Some(66.31), Some(0.0065), None]),
];
