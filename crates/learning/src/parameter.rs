//! Parameters, and the forms in which they are trained.

/// The role of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The weights of a convolution or of a matrix product.
    Weights,
    /// Anything else that can be trained: biases, the scales of a normalization, constants of
    /// element-wise operators.
    Other,
    /// The running mean or variance of a batch normalization, which training measures.
    Statistic,
}

/// The form in which a parameter is trained. Gradients and updates apply to the form's own values,
/// the latent values, from which the parameter's elements are computed.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// Every element on its own.
    Dense,
    /// Elements where the mask is false are 0 and stay 0.
    Masked {
        /// One for each element.
        mask: Vec<bool>,
    },
    /// Every element is one of a few values. The latent values are the centroids.
    Clustered {
        /// The index of each element's centroid.
        assignment: Vec<u32>,
        /// Whether the first centroid is 0 and stays 0, so that pruned elements stay pruned.
        keeps_zero: bool,
    },
}

/// One constant of a network.
#[derive(Debug, Clone)]
pub struct Parameter {
    name: String,
    shape: Vec<usize>,
    role: Role,
    form: Form,
    latent: Vec<f32>,
    /// The elements, if they differ from the latent values.
    values: Vec<f32>,
    /// Factor of the learning rate.
    pub(crate) rate: f32,
    pub(crate) gradient: Vec<f32>,
}

impl Parameter {
    pub(crate) fn new(name: &str, shape: &[usize], role: Role, values: &[f32]) -> Self {
        Self {
            name: name.to_owned(),
            shape: shape.to_vec(),
            role,
            form: Form::Dense,
            latent: values.to_vec(),
            values: Vec::new(),
            rate: 1.0,
            gradient: Vec::new(),
        }
    }

    /// The name of the constant in the model.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The shape in the model.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// What the parameter is for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The form in which it is trained.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// Whether the elements are those of a few clusters.
    pub(crate) fn is_clustered(&self) -> bool {
        matches!(self.form, Form::Clustered { .. })
    }

    /// The elements, row-major.
    pub fn values(&self) -> &[f32] {
        match self.form {
            Form::Dense => &self.latent,
            _ => &self.values,
        }
    }

    /// The values that the optimiser changes: the elements, or the centroids.
    pub fn latent(&self) -> &[f32] {
        &self.latent
    }

    /// The loss's gradient by the latent values, from the last backward pass.
    pub fn gradient(&self) -> &[f32] {
        &self.gradient
    }

    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Both sides of an update.
    pub(crate) fn latent_and_gradient(&mut self) -> (&mut [f32], &[f32]) {
        (&mut self.latent, &self.gradient)
    }

    /// Replaces the elements. Elements that a mask excludes become 0; a clustered parameter
    /// becomes dense.
    pub(crate) fn set_values(&mut self, values: &[f32]) {
        if let Form::Clustered { .. } = self.form {
            self.form = Form::Dense;
        }
        self.latent = values.to_vec();
        self.refresh();
    }

    /// Replaces the latent values.
    pub(crate) fn set_latent(&mut self, latent: &[f32]) {
        self.latent.copy_from_slice(latent);
        self.refresh();
    }

    /// Changes the form. `latent` are the centroids of a clustered form.
    pub(crate) fn set_form(&mut self, form: Form, centroids: Option<Vec<f32>>) {
        let values = self.values().to_vec();
        self.latent = centroids.unwrap_or(values);
        self.form = form;
        self.refresh();
    }

    /// Computes the elements from the latent values.
    pub(crate) fn refresh(&mut self) {
        match &self.form {
            Form::Dense => self.values.clear(),
            Form::Masked { mask } => {
                for (latent, &keep) in self.latent.iter_mut().zip(mask) {
                    *latent = if keep { *latent } else { 0.0 };
                }
                self.values.clone_from(&self.latent);
            }
            Form::Clustered {
                assignment,
                keeps_zero,
            } => {
                if let (true, Some(first)) = (*keeps_zero, self.latent.first_mut()) {
                    *first = 0.0;
                }
                let of = |&index: &u32| self.latent[index as usize];
                self.values = assignment.iter().map(of).collect();
            }
        }
    }

    /// Turns the gradient by the elements into that by the latent values.
    pub(crate) fn pull_back(&mut self) {
        match &self.form {
            Form::Dense => {}
            Form::Masked { mask } => {
                for (gradient, &keep) in self.gradient.iter_mut().zip(mask) {
                    *gradient = if keep { *gradient } else { 0.0 };
                }
            }
            Form::Clustered {
                assignment,
                keeps_zero,
            } => {
                // A centroid has many elements: f64 keeps the sum from losing the small ones.
                let mut sums = vec![0.0_f64; self.latent.len()];
                for (&index, &gradient) in assignment.iter().zip(&self.gradient) {
                    sums[index as usize] += f64::from(gradient);
                }
                if let (true, Some(first)) = (*keeps_zero, sums.first_mut()) {
                    *first = 0.0;
                }
                self.gradient = sums.into_iter().map(|sum| sum as f32).collect();
            }
        }
    }
}
