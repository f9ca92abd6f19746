import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { ConfigError, CorpusError } from '../errors.js';
import { countCharacters } from './characters.js';
import { anonymousAuthor, type Poem, type PoetryReport, readPoems } from './poems.js';
import { cleanBody, cleanTitle, returnSpilledText, titleLine } from './poetry-cleaning.js';
import { poetryCollections } from './poetry-collections.js';
import { documentsFromPoems, poemSentences, readPoetryDocuments } from './poetry-documents.js';

const folder = mkdtempSync(join(tmpdir(), 'openplug-poetry-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** A `dist` folder with the given Tang files. */
function tangRoot(name: string, files: Record<string, unknown>): string {
  const root = join(folder, name);
  mkdirSync(join(root, 'quantangshi', 'error'), { recursive: true });
  for (const [file, content] of Object.entries(files)) {
    writeFileSync(
      join(root, 'quantangshi', file),
      typeof content === 'string' ? content : JSON.stringify(content),
    );
  }
  return root;
}

describe('cleanBody', () => {
  const clean = (paragraphs: string[], isDrama = false): string[] => cleanBody(paragraphs, isDrama).lines;

  it('removes notes, also nested, over several lines, or never closed', () => {
    assert.deepEqual(clean(['闌風長雨（一作「東風細雨」）秋紛紛，四海（一作「萬里」）八荒同一雲。']), [
      '闌風長雨秋紛紛，四海八荒同一雲。',
    ]);
    assert.deepEqual(
      clean(['震旦雖闊無別路，（震旦者，唐國也。', '無別路者（一心）之法。', '）要假姪孫脚下行。']),
      ['震旦雖闊無別路，要假姪孫脚下行。'],
    );
    assert.deepEqual(clean(['昔年幽賞快疎慵。', '（《輿地紀勝》二二（吳在慶謂此詩又見。', '）。']), [
      '昔年幽賞快疎慵。',
    ]);
    assert.deepEqual(clean(['（缺詞文）']), []);
  });

  it('keeps what editors restored and removes their marks', () => {
    assert.deepEqual(
      clean(['[爽]節在重九，', '〔态〕。［接梨過半箸］[一]', '〖1〗好〔圜鍾爲宮三奏〕', '此□（賢）人②']),
      ['爽節在重九，', '态。接梨過半箸', '好', '此賢人'],
    );
    assert.deepEqual(clean(['(小旦)［玉楼春］瑞莲愚,不听!', '(下)。'], true), ['瑞莲愚，不听！']);
  });

  it('calls a poem with lost or garbled characters damaged', () => {
    for (const line of [
      '冰□已鏤津。',
      '綠{𥫗/戢}',
      '林⿰木養',
      '倚杖け然',
      '●●啼',
      'ff。',
      '\ue000',
      '丘\ufffd岫',
    ]) {
      assert.equal(cleanBody([`好${line}`], false).damaged, true, line);
    }
    assert.equal(cleanBody(['春江、「潮水」連海平……《曲》“𠮷”：〇○？！'], false).damaged, false);
  });

  it('leaves no bracket and no mark at the beginning of a line', () => {
    const text = fc
      .array(fc.constantFrom(...'春江（）(){}[]〔〕。，！\n□1 '), { maxLength: 40 })
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(fc.array(text, { maxLength: 4 }), (paragraphs) => {
        const { lines, damaged } = cleanBody(paragraphs, false);
        if (damaged) return;
        for (const line of lines) assert.match(line, /^[春江][春江。，！]*$/);
        assert.deepEqual(cleanBody(lines, false).lines, lines, 'cleaning again changes nothing');
      }),
      { numRuns: 1000 },
    );
  });
});

describe('cleanTitle', () => {
  it('removes notes and white space, and drops titles with gaps', () => {
    assert.equal(cleanTitle('新樂府 七德舞\t美撥亂，陳王業也', []), '新樂府 七德舞 美撥亂，陳王業也');
    assert.equal(cleanTitle('句  其一（存目）', []), '句 其一');
    assert.equal(cleanTitle('南⿰木養遇大風雨', []), '');
    assert.equal(cleanTitle('□後圃', []), '');
    assert.equal(cleanTitle(' （無題） ', []), '');
  });

  it('cuts off a copy of the first line', () => {
    assert.equal(cleanTitle('酒泉子·花映柳条', ['花映柳条，闲向绿萍池上。']), '酒泉子');
    assert.equal(cleanTitle('菩萨蛮·过张见阳山居', ['车尘马迹纷如织。']), '菩萨蛮·过张见阳山居');
  });

  it('writes title marks inside a title as inner ones', () => {
    assert.equal(titleLine('聽《涼州》'), '《聽〈涼州〉》');
  });
});

describe('returnSpilledText', () => {
  it('gives the beginning of a song back to it', () => {
    assert.deepEqual(returnSpilledText('脱布衫・椒花颂万代歌谣，插玳', ['筵宫帽。', '好。']), {
      title: '脱布衫',
      paragraphs: ['椒花颂万代歌谣，插玳筵宫帽。', '好。'],
    });
    assert.equal(returnSpilledText('西厢记・仙吕', ['好。']).title, '西厢记・仙吕');
  });
});

describe('readPoems', () => {
  it('reads files in natural order, leaves out what is unusable, and counts it', () => {
    const root = tangRoot('counts', {
      'poet.tang.1000.json': [
        { author: '李白', title: '二', paragraphs: ['床前明月光，'] },
        { author: '李白', title: '又', paragraphs: ['一。'] },
      ],
      'poet.tang.0.json': [
        { author: '不詳', title: '', paragraphs: ['一。'] },
        { author: '李白', title: '空', paragraphs: [] },
        { author: '李白', title: '注', paragraphs: ['（缺）。'] },
        { author: '李白', title: '缺', paragraphs: ['□□'] },
      ],
      'authors.tang.json': [{ name: '李白' }],
      'error/poet.tang.0.json': [{ author: '錯', title: '錯', paragraphs: ['錯。'] }],
    });
    const report: PoetryReport = {};
    assert.deepEqual(
      [...readPoems({ root, collections: ['tang'], report })],
      [
        { collection: 'tang', author: anonymousAuthor, title: '', lines: ['一。'] },
        { collection: 'tang', author: '李白', title: '二', lines: ['床前明月光，'] },
      ],
    );
    assert.deepEqual(report.tang, {
      read: 6,
      kept: 2,
      empty: 2,
      damaged: 1,
      duplicate: 1,
      notesRemoved: 0,
      untitled: 1,
      characters: 8,
    });
  });

  it('leaves out poems that are mostly copies, and keeps refrains', () => {
    const poem = (title: string, ...paragraphs: string[]) => ({ author: '李白', title, paragraphs });
    const root = tangRoot('copies', {
      'poet.tang.0.json': [
        poem('first', '一。二。', '三。', '四。'),
        poem('other edition', '一。', '二。三。', '五。'),
        poem('half', '一。二。', '六。七。'),
        poem('refrain', '八。八。', '八。八。'),
        poem('fragment', '六。'),
      ],
    });
    assert.deepEqual(
      [...readPoems({ root, collections: ['tang'] })].map((item) => item.lines[0]),
      ['一。二。', '一。二。', '八。八。'],
    );
  });

  it('says what is wrong with settings and files', () => {
    const root = tangRoot('faults', { 'poet.tang.0.json': '[{"author":' });
    const read = (options: object): (() => unknown) => {
      return () => [...readPoems({ collections: ['tang'], ...options })];
    };
    assert.throws(
      read({ root }),
      (error) => error instanceof CorpusError && /poet\.tang\.0\.json is not JSON/.test(error.message),
    );
    assert.throws(
      read({ root: join(folder, 'nowhere') }),
      /nowhere.* does not exist, expected the files of .*'tang'/,
    );
    assert.throws(read({ root: tangRoot('none', {}) }), /has no file of collection 'tang'/);
    assert.throws(read({ root: tangRoot('empty', { 'poet.tang.0.json': [] }) }), /no poem in/);
    assert.throws(read({ limit: 0 }), ConfigError);
    assert.throws(read({ collections: ['tnag'] }), /unknown collection 'tnag'. Choose among tang,/);
  });

  it('reads every collection of the installed package', () => {
    const report: PoetryReport = {};
    const poems = [...readPoems({ limit: 60, report })];
    assert.deepEqual(Object.keys(report), [...poetryCollections]);
    for (const collection of poetryCollections) {
      const counts = report[collection]!;
      assert.equal(poems.filter((poem) => poem.collection === collection).length, counts.kept);
      assert.ok(counts.kept >= 26 && counts.kept <= 60, `${collection}: ${counts.kept}`);
      assert.equal(counts.read - counts.kept, counts.empty + counts.damaged + counts.duplicate);
    }
    const first = poems.find((poem) => poem.collection === 'tang')!;
    assert.deepEqual(
      [first.author, first.title, first.lines[0]],
      ['太宗皇帝', '帝京篇十首 一', '秦川雄帝宅，函谷壯皇居。'],
    );
    assert.equal(poems.find((poem) => poem.collection === 'ci')!.title, '导引');
    assert.equal(poems.find((poem) => poem.collection === 'caocao')!.author, '曹操');
    for (const { lines, title } of poems) {
      assert.ok(lines.length > 0);
      for (const line of [...lines, title]) assert.doesNotMatch(line, /[（）()[\]□{}\n]/);
    }
    assert.deepEqual([...readPoems({ limit: 60 })], poems, 'the same again');
  });
});

describe('documentsFromPoems', () => {
  const poem = fc.record({
    collection: fc.constant('tang' as const),
    author: fc.constantFrom('李白', '杜甫', anonymousAuthor),
    title: fc.constantFrom('', '題', '長題目'),
    lines: fc.array(fc.constantFrom('春江潮水，連海平。', '一。二！三', '花'), {
      minLength: 1,
      maxLength: 6,
    }),
  });

  it('keeps every poem whole, in its author’s order, within the size', () => {
    fc.assert(
      fc.property(
        fc.array(poem, { maxLength: 30 }),
        fc.integer({ min: 1, max: 80 }),
        (poems: Poem[], maxCharacters) => {
          const documents = [...documentsFromPoems(poems, { maxCharacters })];
          assert.equal(new Set(documents.map((document) => document.id)).size, documents.length);
          for (const author of ['李白', '杜甫', anonymousAuthor]) {
            const own = documents.filter((document) => document.id.startsWith(`tang/${author}/`));
            assert.deepEqual(
              own.flatMap((document) => document.poems),
              poems.filter((item) => item.author === author),
            );
            assert.deepEqual(
              own.map((document) => document.id),
              own.map((_, index) => `tang/${author}/${index}`),
            );
          }
          for (const document of documents) {
            assert.deepEqual(document.sentences, document.poems.flatMap(poemSentences));
            const characters = countCharacters(document.sentences.join(''));
            assert.ok(document.poems.length === 1 || characters <= maxCharacters);
          }
        },
      ),
    );
  });

  it('makes documents of the installed package', () => {
    const documents = [...readPoetryDocuments({ collections: ['tang', 'shijing'], limit: 200 })];
    const [first] = documents;
    assert.equal(first!.source, 'tang');
    assert.match(first!.id, /^tang\/太宗皇帝\/0$/);
    assert.deepEqual(first!.sentences.slice(0, 2), ['《帝京篇十首 一》', '秦川雄帝宅，函谷壯皇居。']);
    assert.ok(countCharacters(first!.sentences.join('')) > 1000, 'poems are joined');
    assert.ok(documents.some((document) => document.id === `shijing/${anonymousAuthor}/0`));
  });
});
