'use strict';
const D = JSON.parse(document.getElementById('data').textContent);
const PAGE = 24, IGNORE = 255, C = D.classes.length;
const $ = id => document.getElementById(id);
let shown = PAGE, redraws = [];

function bytes(text) {
  const raw = atob(text), out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out;
}

// Runs of one label: the label, then the length in groups of 7 bits, the lowest first.
function decodeMap(text, size) {
  const code = bytes(text), out = new Uint8Array(size);
  let at = 0, i = 0;
  while (i < code.length) {
    const value = code[i++];
    let length = 0, shift = 0, part;
    do { part = code[i++]; length |= (part & 127) << shift; shift += 7; } while (part > 127);
    out.fill(value, at, at + length);
    at += length;
  }
  return out;
}

// Bilinear, as the labels are made: pixel centres at (i + 0.5) * n / N - 0.5, clamped.
function resize(map, h, w, H, W) {
  const out = new Float32Array(H * W);
  for (let y = 0; y < H; y++) {
    const fy = Math.max((y + .5) * h / H - .5, 0), y0 = Math.min(fy | 0, h - 1), y1 = Math.min(y0 + 1, h - 1);
    for (let x = 0; x < W; x++) {
      const fx = Math.max((x + .5) * w / W - .5, 0), x0 = Math.min(fx | 0, w - 1), x1 = Math.min(x0 + 1, w - 1);
      const dy = fy - y0, dx = fx - x0;
      out[y * W + x] = (1 - dy) * ((1 - dx) * map[y0 * w + x0] + dx * map[y0 * w + x1])
        + dy * ((1 - dx) * map[y1 * w + x0] + dx * map[y1 * w + x1]);
    }
  }
  return out;
}

function cams(item, part) {
  const { h, w, data, classes } = part.cam, all = bytes(data);
  return classes.map((_, k) => resize(all.subarray(k * h * w, (k + 1) * h * w), h, w, item.h, item.w));
}

// The strongest class of each pixel, and how many of the thresholds 0, .01, ... lie below its value.
function prepare(item, part) {
  if (part.ready) return part.ready;
  const n = item.h * item.w, label = new Uint8Array(n), bin = new Uint8Array(n), best = new Float32Array(n);
  cams(item, part).forEach((map, k) => {
    for (let i = 0; i < n; i++) if (map[i] > best[i]) { best[i] = map[i]; label[i] = part.cam.classes[k] + 1; }
  });
  for (let i = 0; i < n; i++) bin[i] = Math.min(100, Math.ceil(best[i] / 2.55));
  return part.ready = { label, bin };
}

function atThreshold(item, part, t) {
  const { label, bin } = prepare(item, part), out = new Uint8Array(label.length);
  for (let i = 0; i < out.length; i++) if (bin[i] > t) out[i] = label[i];
  return out;
}

function truth(item) {
  return item.truth || (item.truth = decodeMap(item.gt, item.h * item.w));
}

function count(label, gt) {
  const tp = new Float64Array(256), pred = new Float64Array(256), real = new Float64Array(256);
  for (let i = 0; i < gt.length; i++) {
    if (gt[i] === IGNORE) continue;
    real[gt[i]]++; pred[label[i]]++;
    if (label[i] === gt[i]) tp[gt[i]]++;
  }
  return { tp, pred, real };
}

function meanIoU(counts) {
  const { tp, pred, real } = counts;
  let sum = 0, number = 0;
  for (let k = 0; k <= C; k++) {
    const union = pred[k] + real[k] - tp[k];
    if (union) { sum += tp[k] / union; number++; }
  }
  return number ? sum / number : null;
}

const percent = value => value === null ? '-' : (100 * value).toFixed(1) + '\u00a0%';

function paint(canvas, item, colour) {
  canvas.width = item.w; canvas.height = item.h;
  const context = canvas.getContext('2d'), image = context.createImageData(item.w, item.h);
  for (let i = 0; i < item.w * item.h; i++) colour(i, image.data, 4 * i);
  context.putImageData(image, 0, 0);
}

function paintLabel(canvas, item, label) {
  paint(canvas, item, (i, to, at) => {
    const k = label[i];
    if (!k) return;
    const stripe = (i % item.w + (i / item.w | 0)) % 6 < 3;
    const [r, g, b] = k === IGNORE ? [255, 255, 255] : D.palette[k] || [128, 128, 128];
    to[at] = r; to[at + 1] = g; to[at + 2] = b;
    to[at + 3] = k === IGNORE ? (stripe ? 255 : 110) : 165;
  });
}

// Blue, cyan, yellow, red, as the pictures of the commands.
function paintCam(canvas, item, map) {
  const ramp = v => Math.max(0, Math.min(1, v));
  paint(canvas, item, (i, to, at) => {
    const v = 4 * map[i] / 255;
    to[at] = 255 * ramp(Math.min(v - 1.5, 4.5 - v)); to[at + 1] = 255 * ramp(Math.min(v - .5, 3.5 - v));
    to[at + 2] = 255 * ramp(Math.min(v + .5, 2.5 - v)); to[at + 3] = 140;
  });
}

function cell(item, text) {
  const figure = document.createElement('figure'), box = document.createElement('div');
  const image = new Image(), canvas = document.createElement('canvas'), caption = document.createElement('figcaption');
  image.src = 'data:image/jpeg;base64,' + item.photo;
  image.alt = '';
  caption.textContent = text;
  figure.className = 'cell';
  box.append(image, canvas);
  figure.append(box, caption);
  return { figure, canvas, caption };
}

function drawCard(item) {
  const card = document.createElement('article');
  card.className = 'card';
  const title = document.createElement('h4'), names = document.createElement('span');
  title.textContent = item.stem + ' ';
  names.textContent = item.classes.map(k => D.classes[k]).join(', ');
  title.append(names);
  card.append(title);
  D.folders.forEach((folder, f) => {
    const part = item.folders[f], row = document.createElement('div');
    row.className = 'row';
    if (D.folders.length > 1) {
      const head = document.createElement('h5');
      head.textContent = folder.name;
      card.append(head);
    }
    row.append(cell(item, 'photograph').figure);
    if (part.cam) {
      cams(item, part).forEach((map, k) => {
        const c = cell(item, 'CAM ' + D.classes[part.cam.classes[k]]);
        paintCam(c.canvas, item, map);
        row.append(c.figure);
      });
      const c = cell(item, '');
      row.append(c.figure);
      redraws.push(t => {
        const label = atThreshold(item, part, t);
        paintLabel(c.canvas, item, label);
        c.caption.textContent = 'threshold ' + (t / 100).toFixed(2)
          + (item.gt ? ', IoU ' + percent(meanIoU(count(label, truth(item)))) : '');
      });
    }
    part.maps.forEach((found, m) => {
      if (!found) return;
      const c = cell(item, folder.maps[m] + (found.iou === null ? '' : ', IoU ' + percent(found.iou)));
      paintLabel(c.canvas, item, decodeMap(found.map, item.h * item.w));
      row.append(c.figure);
    });
    if (item.gt) {
      const c = cell(item, 'ground truth');
      paintLabel(c.canvas, item, truth(item));
      row.append(c.figure);
    }
    card.append(row);
  });
  return card;
}

function chosen() {
  const wanted = $('class').value, [f, m] = $('order').value.split(',').map(Number);
  let items = D.items.filter(item => wanted === '' || item.classes.includes(+wanted));
  if ($('order').value !== '') {
    const iou = item => item.folders[f].maps[m]?.iou ?? 2;
    items = items.filter(item => item.folders[f].maps[m]).sort((a, b) => iou(a) - iou(b));
  }
  return items;
}

function list() {
  const items = chosen();
  redraws = [];
  $('cards').replaceChildren(...items.slice(0, shown).map(drawCard));
  $('more').hidden = items.length <= shown;
  update();
}

function update() {
  const t = +$('slider').value, items = chosen();
  $('t').textContent = (t / 100).toFixed(2);
  redraws.forEach(redraw => redraw(t));
  const parts = D.folders.map((folder, f) => {
    const compared = items.filter(item => item.gt && item.folders[f].cam);
    if (!compared.length) return null;
    const total = { tp: new Float64Array(256), pred: new Float64Array(256), real: new Float64Array(256) };
    for (const item of compared) {
      const counts = count(atThreshold(item, item.folders[f], t), truth(item));
      for (const name in total) for (let k = 0; k <= C; k++) total[name][k] += counts[name][k];
    }
    return `${D.folders.length > 1 ? folder.name + ': ' : ''}mIoU ${percent(meanIoU(total))} at this threshold, `
      + `on ${compared.length} images`;
  }).filter(Boolean);
  $('total').textContent = parts.join('; ') || `${items.length} images`;
}

function legend(name, colour) {
  const span = document.createElement('span'), patch = document.createElement('i');
  patch.style.background = colour;
  span.append(patch, name);
  $('palette').append(span);
}

D.classes.forEach((name, k) => {
  $('class').add(new Option(name, k));
  legend(name, `rgb(${D.palette[k + 1].join(' ')})`);
});
legend('ignored (255)', 'repeating-linear-gradient(45deg, #fff 0 2px, #999 2px 4px)');
D.folders.forEach((folder, f) => folder.maps.forEach((name, m) => {
  if (D.items.some(item => item.folders[f].maps[m]?.iou != null))
    $('order').add(new Option(`worst ${D.folders.length > 1 ? folder.name + ': ' : ''}${name} first`, `${f},${m}`));
}));
if (!D.items.some(item => item.folders.some(part => part.cam))) $('slider').closest('label').hidden = true;
// report.html#t=0.3 opens at a threshold.
const asked = /t=([\d.]+)/.exec(location.hash);
$('slider').value = Math.round(100 * (asked ? +asked[1] : D.folders[0].threshold));
let waiting = false;
$('slider').addEventListener('input', () => {
  if (!waiting) requestAnimationFrame(() => { waiting = false; update(); });
  waiting = true;
});
for (const id of ['class', 'order']) $(id).addEventListener('change', () => { shown = PAGE; list(); });
$('more').addEventListener('click', () => { shown += PAGE; list(); });
list();
