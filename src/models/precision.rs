//! Precision: the dtypes of transformers.js, the file that each stands for, and which of them a model runs in.

use crate::execution::Backend;

/// A transformers.js dtype.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// 32-bit floats.
    Fp32,
    /// 16-bit floats.
    Fp16,
    /// Dynamic 8 bits.
    Q8,
    /// Signed 8 bits.
    Int8,
    /// Unsigned 8 bits.
    Uint8,
    /// 4-bit blocks.
    Q4,
    /// 4-bit blocks, the rest in 16-bit floats.
    Q4F16,
    /// 4-bit blocks of bitsandbytes.
    Bnb4,
    /// 2-bit blocks.
    Q2,
}

impl Dtype {
    /// All dtypes.
    pub const ALL: [Self; 9] =
        [Self::Fp32, Self::Fp16, Self::Q8, Self::Int8, Self::Uint8, Self::Q4, Self::Q4F16, Self::Bnb4, Self::Q2];

    /// The name that transformers.js gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Q8 => "q8",
            Self::Int8 => "int8",
            Self::Uint8 => "uint8",
            Self::Q4 => "q4",
            Self::Q4F16 => "q4f16",
            Self::Bnb4 => "bnb4",
            Self::Q2 => "q2",
        }
    }

    /// Bits of most of its weights.
    pub fn bits(self) -> u32 {
        match self {
            Self::Fp32 => 32,
            Self::Fp16 => 16,
            Self::Q8 | Self::Int8 | Self::Uint8 => 8,
            Self::Q4 | Self::Q4F16 | Self::Bnb4 => 4,
            Self::Q2 => 2,
        }
    }

    /// The dtype of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    /// The file of a graph below the model's folder, as transformers.js names it.
    pub fn file(self, graph: &str) -> String {
        let suffix = match self {
            Self::Fp32 => String::new(),
            Self::Q8 => "_quantized".to_owned(),
            other => format!("_{}", other.name()),
        };
        format!("onnx/{graph}{suffix}.onnx")
    }

    /// The first of the available ones that suits the backend: small integers are fast on WASM, and slow or wrong
    /// elsewhere.
    pub fn choose(backend: Backend, available: &[Self]) -> Option<Self> {
        let order = match backend {
            Backend::Wasm => [Self::Q8, Self::Fp32, Self::Fp16, Self::Q4],
            _ => [Self::Fp32, Self::Fp16, Self::Q4, Self::Q8],
        };
        order.into_iter().find(|dtype| available.contains(dtype)).or_else(|| available.first().copied())
    }

    /// The dtypes of so many bits, the most usual first; none for a number that none has.
    pub fn of_bits(bits: u32) -> &'static [Self] {
        match bits {
            32 => &[Self::Fp32],
            16 => &[Self::Fp16],
            8 => &[Self::Q8, Self::Int8, Self::Uint8],
            4 => &[Self::Q4, Self::Q4F16, Self::Bnb4],
            2 => &[Self::Q2],
            _ => &[],
        }
    }
}

/// What a model runs in: a dtype for each graph of its task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dtypes(Vec<(&'static str, Dtype)>);

impl Dtypes {
    /// These graphs, each in the dtype beside it; at least one.
    pub fn new(graphs: Vec<(&'static str, Dtype)>) -> Self {
        Self(graphs)
    }

    /// The same graphs, all in one dtype.
    pub fn all_in(&self, dtype: Dtype) -> Self {
        Self(self.0.iter().map(|&(graph, _)| (graph, dtype)).collect())
    }

    /// The graphs, each with its dtype.
    pub fn graphs(&self) -> impl Iterator<Item = (&'static str, Dtype)> {
        self.0.iter().copied()
    }

    /// The dtype, where all graphs have the same.
    pub fn common(&self) -> Option<Dtype> {
        let (_, first) = *self.0.first()?;
        self.0.iter().all(|&(_, dtype)| dtype == first).then_some(first)
    }

    /// The dtype that all graphs have; or each graph's own, as `encoder_model=fp32,decoder_model=q4`.
    pub fn name(&self) -> String {
        match self.common() {
            Some(dtype) => dtype.name().to_owned(),
            None => {
                let graphs = self.0.iter().map(|(graph, dtype)| format!("{graph}={}", dtype.name()));
                graphs.collect::<Vec<_>>().join(",")
            }
        }
    }

    /// Bits of most weights of the graph that has the fewest.
    pub fn bits(&self) -> u32 {
        self.0.iter().map(|(_, dtype)| dtype.bits()).min().unwrap_or(32)
    }

    /// The same of a name.
    pub fn bits_of(name: &str) -> u32 {
        let dtype = |graph: &str| Dtype::parse(graph.rsplit('=').next().unwrap_or(graph));
        name.split(',').filter_map(dtype).map(Dtype::bits).min().unwrap_or(32)
    }
}

#[cfg(test)]
mod tests {
    use super::{Dtype, Dtypes};
    use crate::execution::Backend;

    #[test]
    fn names_are_read_back() {
        for dtype in Dtype::ALL {
            assert_eq!(Dtype::parse(dtype.name()), Some(dtype));
        }
        assert_eq!(Dtype::parse("fp64"), None);
    }

    #[test]
    fn a_name_tells_the_bits() {
        let graphs = |encoder, decoder| Dtypes::new(vec![("encoder_model", encoder), ("decoder_model", decoder)]);
        for dtype in Dtype::ALL {
            let one = graphs(dtype, dtype);
            assert_eq!((one.name().as_str(), one.bits()), (dtype.name(), dtype.bits()));
            assert!(Dtype::of_bits(dtype.bits()).contains(&dtype));
            let two = graphs(Dtype::Fp32, dtype);
            assert_eq!(Dtypes::bits_of(&two.name()), two.bits());
        }
        assert_eq!(graphs(Dtype::Fp32, Dtype::Q4).name(), "encoder_model=fp32,decoder_model=q4");
        assert_eq!(Dtypes::bits_of("simulation"), 32);
    }

    #[test]
    fn the_choice_follows_the_backend_and_what_is_there() {
        let both = [Dtype::Fp32, Dtype::Q8];
        assert_eq!(Dtype::choose(Backend::Wasm, &both), Some(Dtype::Q8));
        assert_eq!(Dtype::choose(Backend::WebGpu, &both), Some(Dtype::Fp32));
        assert_eq!(Dtype::choose(Backend::Wasm, &[Dtype::Bnb4]), Some(Dtype::Bnb4));
        assert_eq!(Dtype::choose(Backend::Wasm, &[]), None);
    }
}
