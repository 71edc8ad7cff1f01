//! Decoding of many pictures on all cores.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::error::{BadPicture, BadPictures, DatasetError, PictureProblem};
use crate::notes::Note;
use crate::picture::Picture;
use crate::record::Record;
use crate::recording::Recording;

/// Pictures per thread that are decoded before they are passed on. This bounds the memory.
const TOGETHER: usize = 64;

/// What was found in decoding pictures.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Pictures that were used.
    pub used: usize,
    /// Pictures that cannot be used; none, or few enough.
    pub bad: BadPictures,
    /// The number of pictures of each width and height.
    pub sizes: BTreeMap<(u32, u32), usize>,
}

impl Decoded {
    /// What an operator should know: bad pictures, pictures of several sizes.
    pub fn notes(self, recording: &Recording) -> Vec<Note> {
        let mut notes = Vec::new();
        if !self.bad.bad.is_empty() {
            notes.push(Note::BadPictures(self.bad));
        }
        if self.sizes.len() > 1 {
            notes.push(Note::Sizes {
                folder: recording.folder().to_owned(),
                sizes: self.sizes,
            });
        }
        notes
    }
}

/// At most `most` of `count` indices, evenly spaced, the first among them.
pub fn evenly(count: usize, most: usize) -> Vec<usize> {
    if count <= most {
        return (0..count).collect();
    }
    let index = |i: usize| (i as u128 * count as u128 / most as u128) as usize;
    (0..most).map(index).collect()
}

impl Recording {
    /// Decodes the pictures of the records `chosen`, on all cores. `work` converts a picture, in
    /// any order; `take` receives the index of a record and its result, in the order of `chosen`.
    /// Bad pictures and indices beyond the records are passed over.
    ///
    /// # Errors
    /// The first error of `work`, in the order of `chosen`; or, after all pictures were read, the
    /// bad pictures if they are more than [`BAD_SHARE_PERCENT`](crate::BAD_SHARE_PERCENT) percent.
    pub fn for_each_picture<T: Send, E: From<DatasetError> + Send>(
        &self,
        chosen: &[usize],
        work: impl Fn(&Record, Picture) -> Result<T, E> + Sync,
        mut take: impl FnMut(usize, T),
    ) -> Result<Decoded, E> {
        let mut found = Decoded::default();
        found.bad.folder = self.folder().to_owned();
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        for chosen in chosen.chunks(threads * TOGETHER) {
            let known = chosen.iter().filter(|&&index| index < self.records().len());
            let known: Vec<usize> = known.copied().collect();
            let results = self.decode_all(&known, threads, &work);
            for (&index, result) in known.iter().zip(results) {
                found.bad.of += 1;
                match result {
                    Some(Ok((size, item))) => {
                        *found.sizes.entry(size).or_default() += 1;
                        found.used += 1;
                        take(index, item?);
                    }
                    Some(Err(problem)) => found.bad.bad.push(BadPicture {
                        picture: self.records()[index].picture.clone(),
                        problem,
                    }),
                    // After an error of `work`, which comes first in the order.
                    None => {}
                }
            }
        }
        match found.bad.tolerable() {
            true => Ok(found),
            false => Err(DatasetError::BadPictures(found.bad).into()),
        }
    }

    /// The results in the order of `indices`. After an error of `work`, later records may have no
    /// result.
    #[expect(
        clippy::type_complexity,
        reason = "a result of `work` in one of decoding"
    )]
    fn decode_all<T: Send, E: Send>(
        &self,
        indices: &[usize],
        threads: usize,
        work: &(impl Fn(&Record, Picture) -> Result<T, E> + Sync),
    ) -> Vec<Option<Result<((u32, u32), Result<T, E>), PictureProblem>>> {
        let next = AtomicUsize::new(0);
        let failed = AtomicBool::new(false);
        let decode = || {
            let mut done = Vec::new();
            while !failed.load(Ordering::Relaxed) {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(&index) = indices.get(place) else {
                    break;
                };
                let record = &self.records()[index];
                let result = self.decode(record).map(|picture| {
                    let size = (picture.width, picture.height);
                    let item = work(record, picture);
                    failed.fetch_or(item.is_err(), Ordering::Relaxed);
                    (size, item)
                });
                done.push((place, result));
            }
            done
        };
        let mut results: Vec<_> = indices.iter().map(|_| None).collect();
        thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.min(indices.len()))
                .map(|_| scope.spawn(decode))
                .collect();
            for worker in workers {
                match worker.join() {
                    Ok(done) => {
                        for (place, result) in done {
                            results[place] = Some(result);
                        }
                    }
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        results
    }
}
