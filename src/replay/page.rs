//! The report: one page that needs no other file and no network.

use std::fmt::Write as _;

/// A table: its title, a name for each column of values, and rows of a name and values.
pub(crate) struct Table {
    pub title: String,
    pub columns: Vec<String>,
    pub rows: Vec<(String, Vec<String>)>,
}

/// A picture with its caption.
pub(crate) struct Figure {
    /// A `data:` address; `None` if the picture cannot be read any more.
    pub address: Option<String>,
    pub caption: String,
}

/// What the page shows. All texts are escaped; `plot` is an SVG that this program drew.
pub(crate) struct Page {
    pub title: String,
    /// Lines below the title.
    pub about: Vec<String>,
    /// A judgement that comes first, and whether it is a good one.
    pub verdict: Option<(String, bool)>,
    pub tables: Vec<Table>,
    pub plot: String,
    /// Sections of pictures.
    pub worst: Vec<(String, Vec<Figure>)>,
}

const STYLE: &str = "\
:root{color-scheme:dark}\
body{background:#12161c;color:#f0f3f7;font:16px/1.5 Inter,Helvetica,Arial,sans-serif;\
max-width:1200px;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.6rem;margin-bottom:.3rem}h2{font-size:1.15rem;margin:2rem 0 .6rem}\
p{margin:.2rem 0;color:#939ead}\
.good,.bad{display:inline-block;border-radius:.4rem;padding:.3rem .8rem;margin:.6rem 0;\
font-weight:600;color:#12161c}.good{background:#7bd88f}.bad{background:#ff5a4f}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums}\
td,th{padding:.2rem 1.4rem .2rem 0;text-align:right}\
td:first-child,th:first-child{text-align:left;color:#939ead;font-weight:400}\
tr+tr td{border-top:1px solid #292f38}\
svg{width:100%;height:auto}\
.sheet{display:grid;grid-template-columns:repeat(auto-fill,minmax(210px,1fr));gap:1rem}\
figure{margin:0}img{width:100%;border-radius:.3rem;display:block}\
figcaption{font-size:.8rem;color:#939ead;overflow-wrap:anywhere}";

impl Page {
    /// The page's HTML.
    pub fn html(&self) -> String {
        let mut html = String::from(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
             img-src data:; style-src 'unsafe-inline'\">\n",
        );
        // Writing to a String does not fail.
        let _ = write!(
            html,
            "<title>{}</title>\n<style>{STYLE}</style>\n",
            escaped(&self.title)
        );
        let _ = writeln!(html, "<h1>{}</h1>", escaped(&self.title));
        for line in &self.about {
            let _ = writeln!(html, "<p>{}</p>", escaped(line));
        }
        if let Some((verdict, is_good)) = &self.verdict {
            let class = if *is_good { "good" } else { "bad" };
            let _ = writeln!(html, "<div class=\"{class}\">{}</div>", escaped(verdict));
        }
        for table in &self.tables {
            table.write(&mut html);
        }
        let _ = writeln!(
            html,
            "<h2>Over time, and against the recording</h2>\n{}",
            self.plot
        );
        for (title, figures) in &self.worst {
            let _ = writeln!(html, "<h2>{}</h2>\n<div class=\"sheet\">", escaped(title));
            for figure in figures {
                let caption = escaped(&figure.caption);
                let image = match &figure.address {
                    Some(address) => {
                        format!("<img alt=\"{caption}\" src=\"{}\">", escaped(address))
                    }
                    None => String::new(),
                };
                let caption = format!("<figcaption>{caption}</figcaption>");
                let _ = writeln!(html, "<figure>{image}{caption}</figure>");
            }
            html += "</div>\n";
        }
        html += "</html>\n";
        html
    }
}

impl Table {
    fn write(&self, html: &mut String) {
        let _ = write!(
            html,
            "<h2>{}</h2>\n<table>\n<tr><th></th>",
            escaped(&self.title)
        );
        for column in &self.columns {
            let _ = write!(html, "<th>{}</th>", escaped(column));
        }
        *html += "</tr>\n";
        for (name, values) in &self.rows {
            let _ = write!(html, "<tr><td>{}</td>", escaped(name));
            for value in values {
                let _ = write!(html, "<td>{}</td>", escaped(value));
            }
            *html += "</tr>\n";
        }
        *html += "</table>\n";
    }
}

/// Text for an element or a quoted attribute. Control characters, which HTML does not have, are left
/// out.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            it if it.is_control() => {}
            it => escaped.push(it),
        }
    }
    escaped
}
