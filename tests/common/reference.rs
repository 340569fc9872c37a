//! What native ONNX Runtime answers.

use std::path::Path;

/// Sentences and their embeddings from native ONNX Runtime, one sentence at a time.
pub struct Reference {
    pub sentences: Vec<String>,
    pub fp32: Vec<Vec<f32>>,
    pub q8: Vec<Vec<f32>>,
}

impl Reference {
    pub fn read(model: &Path) -> Self {
        let text = std::fs::read_to_string(model.join("reference.json")).unwrap();
        let all: serde_json::Value = serde_json::from_str(&text).unwrap();
        let vectors = |key: &str| {
            let vectors = all[key].as_array().unwrap().iter();
            vectors
                .map(|row| row.as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect())
                .collect()
        };
        let sentences =
            all["sentences"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect();
        Self { sentences, fp32: vectors("fp32"), q8: vectors("q8") }
    }
}
