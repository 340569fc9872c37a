//! What is known of operators: which need 32 bits, which are worth 16, and which outputs are floats.

use crate::{
    graph::{attribute, inner},
    proto::{NodeProto, tensor_proto::DataType},
    tensor::is_float as is_float_tensor,
};

/// Operators that stay in 32 bits: they square, sum up or exponentiate (which overflows), count (which takes more than
/// eleven bits), choose by differences that rounding takes away, or exist for nothing else.
const FULL: [&str; 45] = [
    "Pow",
    "Exp",
    "Log",
    "Sqrt",
    "Reciprocal",
    "ReduceMean",
    "ReduceSum",
    "ReduceSumSquare",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceProd",
    "LpNormalization",
    "InstanceNormalization",
    "CumSum",
    "Range",
    "Sin",
    "Cos",
    "Tan",
    "Mod",
    "Ceil",
    "Floor",
    "Round",
    "Softplus",
    "Resize",
    "Upsample",
    "TopK",
    "NonMaxSuppression",
    "RoiAlign",
    "GridSample",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Bernoulli",
    "DFT",
    "STFT",
    "MelWeightMatrix",
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "OneHot",
    "EyeLike",
];

/// Operators that take most of a model's time and memory: what comes to them is made 16 bits wide.
const HEAVY: [&str; 14] = [
    "MatMul",
    "Gemm",
    "Conv",
    "ConvTranspose",
    "Einsum",
    "LayerNormalization",
    "RMSNormalization",
    "MatMulNBits",
    "SkipLayerNormalization",
    "SimplifiedLayerNormalization",
    "SkipSimplifiedLayerNormalization",
    "Attention",
    "MultiHeadAttention",
    "GroupQueryAttention",
];

/// Operators whose outputs are no floats.
const WHOLE: [&str; 24] = [
    "Shape",
    "Size",
    "ArgMax",
    "ArgMin",
    "NonZero",
    "NonMaxSuppression",
    "Equal",
    "Less",
    "Greater",
    "LessOrEqual",
    "GreaterOrEqual",
    "Not",
    "And",
    "Or",
    "Xor",
    "IsNaN",
    "IsInf",
    "BitShift",
    "BitwiseAnd",
    "BitwiseOr",
    "MatMulInteger",
    "ConvInteger",
    "QuantizeLinear",
    "Multinomial",
];

/// Whether an operator needs 32 bits.
pub fn needs_full(node: &NodeProto) -> bool {
    FULL.contains(&node.op_type()) || inner(node).next().is_some()
}

/// Whether an operator is worth 16 bits whatever comes to it.
pub fn is_heavy(node: &NodeProto) -> bool {
    HEAVY.contains(&node.op_type())
}

/// Whether an operator works on sequences or maps of tensors, whose types are not followed.
pub fn is_unknown(node: &NodeProto) -> bool {
    node.op_type().contains("Sequence") || node.op_type().starts_with("Optional") || node.op_type().contains("Map")
}

/// Whether an output is of 32-bit floats, given which inputs are floats.
pub fn is_float(node: &NodeProto, output: usize, floats: &[bool]) -> bool {
    let input = |at: usize| floats.get(at).copied().unwrap_or(false);
    let given = |name| attribute(node, name).map(|attribute| attribute.i() == i64::from(i32::from(DataType::Float)));
    let op = node.op_type();
    match op {
        _ if WHOLE.contains(&op) => false,
        "Cast" => given("to").unwrap_or(false),
        "ConstantOfShape" => {
            let value = attribute(node, "value").and_then(|value| value.t.as_ref());
            value.is_none_or(|value| is_float_tensor(value))
        }
        "RandomNormal" | "RandomUniform" => given("dtype").unwrap_or(true),
        "RandomNormalLike" | "RandomUniformLike" | "EyeLike" | "Bernoulli" => {
            given("dtype").unwrap_or_else(|| input(0))
        }
        "DynamicQuantizeLinear" => output == 1,
        "TopK" | "MaxPool" | "Dropout" | "Unique" => output == 0 && input(0),
        "DequantizeLinear" | "Where" | "CastLike" => input(1),
        "OneHot" | "GatherBlockQuantized" => input(2),
        _ => input(0),
    }
}
