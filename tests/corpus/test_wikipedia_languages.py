# ruff: noqa: E501 (a paragraph of wikitext is one line)
"""An article and a redirect as the Wikipedias of ten languages write them, and the paragraphs that a reader sees.

All were written by hand for this test, with the constructs of their Wikipedia: pictures under the old and the new name
of their namespace, numbers and dates in templates, lists, tables, references, and sections of references.
"""

from typing import NamedTuple
from xml.sax.saxutils import escape

import pytest

from segue.corpus import WikipediaDumpCorpus
from segue.types import Document, Skipped


class Sample(NamedTuple):
    spaces: tuple[str, str]  # names of the namespaces of files and categories in the dump
    article: str
    paragraphs: tuple[str, ...]
    redirect: str
    dropped: tuple[str, ...] = ()


SAMPLES = {
    "en": Sample(
        ("File", "Category"),
        """{{Short description|Mountain in the north}}
{{Infobox mountain
| name = Snow Peak
| elevation = {{convert|2469|m|ft}}
| image = [[File:Peak.jpg|thumb]]
}}
'''Snow Peak''' ({{IPAc-en|s|n|oʊ}}) is a [[mountain]] of {{convert|2469|m|ft|0}}{{sfn|Smith|1990|p=5}} in the north.<ref name="a">{{cite book|last=Smith|title=Snow. And ice.}}</ref> It was climbed on {{date|3 May 1900}}.
[[Image:Peak2.jpg|thumb|left|The peak, seen from the [[valley]] in winter.]]

About {{formatnum:12345}} people live near it{{citation needed|date=May 2020}}, {{nowrap|5 km}} away, and {{val|2.5|e=6|u=kg}} of snow lie there. {{Weather now|Snow Peak}} is what they talk about.
* The first route was found by accident in summer.
* North face
== See also ==
* [[Another peak]], which is a mountain too.
== References ==
{{reflist}}
[[Category:Mountains of the north that are high.]]""",
        (
            "Snow Peak is a mountain of 2469 m in the north. It was climbed on 3 May 1900.",
            "About 12345 people live near it, 5 km away, and 2.5×10^6 kg of snow lie there. is what they talk about.",
            "The first route was found by accident in summer.",
        ),
        "#REDIRECT [[Snow Peak]] {{R from move}}",
        ("{{weather now}}",),
    ),
    "de": Sample(
        ("Datei", "Kategorie"),
        """{{Infobox Ort|Name=Schneeberg|Höhe=470}}
[[Bild:Schneeberg.jpg|mini|135px|Der Ort im Winter, von [[Süden]] aus gesehen.]]
'''Schneeberg''' ({{enS|snow mountain}}) ist ein Ort mit {{formatnum:12345}} Einwohnern in {{Höhe|470|DE-NN}} Höhe.<ref>{{Literatur|Autor=A. Meier|Titel=Schnee.}}</ref>

Der Ort wurde {{nowrap|im Jahr 1471}} gegründet und hat {{ZahlExp|3|3}} Häuser. Er ist {{Schönheitsgrad|sehr}} schön.
:* Im Winter liegt dort viel Schnee, der lange bleibt.
{| class="wikitable"
! Jahr !! Schnee
|-
| 1900 || Es lag viel Schnee, sehr viel sogar.
|}
== Einzelnachweise ==
<references />
== Weblinks ==
* {{Commonscat}} Hier steht ein Satz, der keiner ist.
{{SORTIERUNG:Schneeberg}}
[[Kategorie:Orte im Winter, die es gibt.]]""",
        (
            "Schneeberg (snow mountain) ist ein Ort mit 12345 Einwohnern in 470 m Höhe.",
            "Der Ort wurde im Jahr 1471 gegründet und hat 3×10^3 Häuser. Er ist schön.",
            "Im Winter liegt dort viel Schnee, der lange bleibt.",
        ),
        "#WEITERLEITUNG [[Schneeberg]]",
        ("{{schönheitsgrad}}",),
    ),
    "fr": Sample(
        ("Fichier", "Catégorie"),
        """{{Infobox Montagne|nom=Mont Blanc}}
[[Image:Mont.jpg|vignette|redresse=1.2|Le mont, vu de la [[vallée]] un matin d'hiver.]]
Le '''mont Blanc''' culmine à {{unité|4806|m}} d'altitude, à {{nobr|5 km}} d'ici{{sfn|Dupont|1990}}. Il est gravi le {{date|8|août|1786|en alpinisme}} puis au {{s|XIX}}, et couvre {{unité|30|km|2}}.
[[Fichier:Sommet.png|thumb|Une autre légende qui se termine ici.]]

Au {{XXe siècle}}, {{nombre|20000|personnes}} y montent {{référence nécessaire|chaque année}}. {{Citation|La neige y est éternelle}}, dit-on, et {{lien|langue=en|trad=Snow line|fr=la limite des neiges}} recule.
== Notes et références ==
{{références}}
== Voir aussi ==
* Une phrase qui n'en est pas une, ici.
[[Catégorie:Montagnes qui sont hautes.]]""",
        (
            "Le mont Blanc culmine à 4806 m d'altitude, à 5 km d'ici. Il est gravi le 8 août 1786 puis au XIXe siècle, et couvre "
            "30 km^2.",
            "Au XXe siècle, 20000 personnes y montent chaque année. La neige y est éternelle, dit-on, et la limite des "
            "neiges recule.",
        ),
        "#REDIRECTION [[Mont Blanc]]",
    ),
    "es": Sample(
        ("Archivo", "Categoría"),
        """{{Ficha de montaña|nombre=Nevado}}
[[Imagen:Nevado.jpg|thumb|250px|El nevado, visto desde el [[valle]] en invierno.]]
El '''Nevado''' es una [[montaña]] de {{unidad|5321|m}} de altura, con {{formatnum:12345}} visitantes al año.<ref>{{cita libro|título=Nieve.}}</ref>
[[Archivo:Mapa.svg|miniaturadeimagen|El mapa de la región, que es grande.]]

Fue escalado el {{fecha|3|5|1900}} y mide {{convertir|5|km|mi}} de ancho. Está a {{esd|20 km}} del mar.
# Primera frase de una lista que es larga.
== Referencias ==
{{listaref}}
== Véase también ==
* [[Otra montaña]], que es una montaña también.
[[Categoría:Montañas de aquí.]]""",
        (
            "El Nevado es una montaña de 5321 m de altura, con 12345 visitantes al año.",
            "Fue escalado el 3-5-1900 y mide 5 km de ancho. Está a 20 km del mar.",
            "Primera frase de una lista que es larga.",
        ),
        "#REDIRECCIÓN [[Nevado]]",
    ),
    "ru": Sample(
        ("Файл", "Категория"),
        """{{Гора|Название=Снежная}}
[[Изображение:Гора.jpg|thumb|слева|Гора зимой, вид из [[долина|долины]] на север.]]
'''Снежная''' ({{lang-en|Snow Mountain}}) — гора высотой {{s|2469 м}}, рядом живут {{число|12345}} человек<ref>{{книга|автор=Иванов|заглавие=Снег.}}</ref>.
[[Файл:Карта.png|мини|Карта местности, на которой видна гора.]]

Восхождение было {{дата|3|мая|1900}}, а до {{нп5|Снеговая линия|снеговой линии|en|Snow line}} — {{convert|5|km|mi}}.{{нет АИ}}
__БЕЗ_ОГЛАВЛЕНИЯ__
== Примечания ==
{{примечания}}
== Ссылки ==
* Это предложение стоит среди ссылок, его нет.
[[Категория:Горы, которые высоки.]]""",
        (
            "Снежная (Snow Mountain) — гора высотой 2469 м, рядом живут 12345 человек.",
            "Восхождение было 3 мая 1900, а до снеговой линии — 5 km.",
        ),
        "#перенаправление [[Снежная (гора)]]",
    ),
    "zh": Sample(
        ("File", "Category"),
        """{{NoteTA|G1=地名|1=zh-hans:雪山;zh-hant:雪嶺;}}
[[文件:雪山.jpg|缩略图|右|从[[山谷]]看到的雪山，冬天的样子。]]
'''雪山'''（{{lang-en|Snow Mountain}}，{{IPA|x}}）是一座-{zh-hans:高山;zh-hant:峻嶺}-，海拔{{convert|2469|m|ft}}，附近有{{formatnum:12345}}人居住<ref>{{cite book|title=雪。}}</ref>。
[[圖像:地圖.png|thumb|-{H|zh-hans:地图;zh-hant:地圖}-這是一張地圖，上面有山。]]

他是一名医生，住在北京。

-{A|zh-cn:程序;zh-tw:程式}-員{{le|張三|Zhang San}}住在-{[[上海]]}-，他喜歡-{雪}-。
* 第一條路
== 参考文献 ==
{{reflist}}
== 外部連結 ==
* 這句話在外部連結裡面，所以不要讀它。
[[分类:山，很高的山。]]""",
        (
            "雪山（Snow Mountain）是一座高山，海拔2469 m，附近有12345人居住。",
            "他是一名医生，住在北京。",
            "程序員張三住在上海，他喜歡雪。",
        ),
        "#重定向 [[雪山]]",
    ),
    "ja": Sample(
        ("ファイル", "Category"),
        """{{Infobox 山|名称=雪山}}
[[画像:雪山.jpg|thumb|200px|冬の雪山、[[谷]]から見たところである。]]
{{読み仮名|'''雪山'''|ゆきやま}}は、標高{{Val|2469|u=m}}の山である<ref>{{Cite book|title=雪。}}</ref>。ふもとに{{formatnum:12345}}人が住む{{要出典|date=2020年5月}}。
[[ファイル:地図.png|サムネイル|地図である。山が見える地図である。]]

{{仮リンク|雪線|en|Snow line|label=雪線}}までは{{Convert|5|km|mi}}あり、{{nowrap|1900年5月3日}}に初めて登られた。
__目次非表示__
== 脚注 ==
{{Reflist}}
== 関連項目 ==
* この文は関連項目の中にあるので読まれない。
[[カテゴリ:高い山である。]]""",
        (
            "雪山は、標高2469 mの山である。ふもとに12345人が住む。",
            "雪線までは5 kmあり、1900年5月3日に初めて登られた。",
        ),
        "#転送 [[雪山]]",
    ),
    "ar": Sample(
        ("ملف", "تصنيف"),
        """{{معلومات جبل|الاسم=جبل الثلج}}
[[صورة:جبل.jpg|تصغير|يسار|الجبل في الشتاء كما يظهر من [[وادي|الوادي]].]]
'''جبل الثلج''' (، {{إنج|Snow}}) هو [[جبل]] يبلغ ارتفاعه {{وحدة|2469|متر}} ويعيش قربه {{formatnum:12345}} شخص.<ref>{{مرجع كتاب|عنوان=الثلج.}}</ref>
[[ملف:خريطة.png|تصغير|خريطة المنطقة التي يقع فيها الجبل.]]

تسلقه الناس في {{تاريخ|3|مايو|1900}} ويبعد {{حول|5|كم|ميل}} عن {{وإو|عر=خط الثلج|تر=Snow line|لغ=en}}.
== مراجع ==
{{مراجع}}
== انظر أيضًا ==
* هذه جملة في قسم آخر ولا تقرأ.
[[تصنيف:جبال عالية.]]""",
        (
            "جبل الثلج هو جبل يبلغ ارتفاعه 2469 متر ويعيش قربه 12345 شخص.",
            "تسلقه الناس في 3 مايو 1900 ويبعد 5 كم عن خط الثلج.",
        ),
        "#تحويل [[جبل الثلج]]",
        ("{{إنج}}",),
    ),
    "hi": Sample(
        ("चित्र", "श्रेणी"),
        """{{ज्ञानसन्दूक पर्वत|नाम=हिमगिरि}}
[[File:पर्वत.jpg|अंगूठाकार|200px|सर्दियों में पर्वत, [[घाटी]] से देखा गया।]]
'''हिमगिरि''' ({{lang-en|Snow Mountain}}) एक [[पर्वत]] है जिसकी ऊँचाई {{convert|2469|m|ft}} है।<ref>{{cite book|title=हिम।}}</ref> इसके पास {{formatnum:12345}} लोग रहते हैं।{{cn}}
[[चित्र:मानचित्र.png|thumb|यह क्षेत्र का मानचित्र है जिसमें पर्वत दिखता है।]]

इस पर {{दिनांक|3|मई|1900}} को चढ़ाई हुई और यह समुद्र से {{nowrap|5 किमी}} दूर है।
__विषयसूचीहीन__
== सन्दर्भ ==
{{टिप्पणीसूची}}
== बाहरी कड़ियाँ ==
* यह वाक्य कड़ियों के बीच में है और नहीं पढ़ा जाता।
[[श्रेणी:ऊँचे पर्वत।]]""",
        (
            "हिमगिरि (Snow Mountain) एक पर्वत है जिसकी ऊँचाई 2469 m है। इसके पास 12345 लोग रहते हैं।",
            "इस पर 3 मई 1900 को चढ़ाई हुई और यह समुद्र से 5 किमी दूर है।",
        ),
        "#पुनर्प्रेषित [[हिमगिरि]]",
    ),
    "th": Sample(
        ("ไฟล์", "หมวดหมู่"),
        """{{กล่องข้อมูล ภูเขา|ชื่อ=ภูหิมะ}}
[[ภาพ:ภูเขา.jpg|thumb|200px|ภูเขาในฤดูหนาวเมื่อมองจากหุบเขาทางทิศเหนือของหมู่บ้าน]]
'''ภูหิมะ''' ({{lang-en|Snow Mountain}}) เป็น[[ภูเขา]]สูง {{convert|2469|m|ft}} และมีคนอาศัยอยู่ใกล้ ๆ {{formatnum:12345}} คน<ref>{{cite book|title=หิมะ}}</ref>
[[ไฟล์:แผนที่.png|thumb|แผนที่ของภูมิภาคซึ่งแสดงภูเขาและหมู่บ้านที่อยู่ใกล้เคียงทั้งหมด]]

มีผู้ปีนขึ้นไปถึงยอดเมื่อวันที่ {{วันที่|3|พฤษภาคม|1900}} และอยู่ห่างจากทะเล {{nowrap|5 กม.}} เท่านั้น
* ทางเหนือ
__ไม่มีสารบัญ__
== อ้างอิง ==
{{รายการอ้างอิง}}
== แหล่งข้อมูลอื่น ==
* ประโยคนี้อยู่ในแหล่งข้อมูลอื่นจึงไม่ควรถูกอ่านเป็นเนื้อหาของบทความ
[[หมวดหมู่:ภูเขาสูง]]""",
        (
            "ภูหิมะ (Snow Mountain) เป็นภูเขาสูง 2469 m และมีคนอาศัยอยู่ใกล้ ๆ 12345 คน",
            "มีผู้ปีนขึ้นไปถึงยอดเมื่อวันที่ 3 พฤษภาคม 1900 และอยู่ห่างจากทะเล 5 กม. เท่านั้น",
        ),
        "#เปลี่ยนทาง [[ภูหิมะ]]",
    ),
}  # fmt: skip


def dump_of(code: str, sample: Sample) -> str:
    spaces = zip((6, 14), sample.spaces, strict=True)
    names = "".join(f'<namespace key="{key}" case="first-letter">{name}</namespace>' for key, name in spaces)
    pages = (
        f"<page><title>{title}</title><ns>0</ns><id>1</id><revision><id>1</id><model>wikitext</model>"
        f'<text xml:space="preserve">{escape(text)}</text></revision></page>'
        for title, text in (("A", sample.article), ("B", sample.redirect))
    )
    return (
        f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="{code}"><siteinfo>'
        f"<namespaces>{names}</namespaces></siteinfo>{''.join(pages)}</mediawiki>"
    )


@pytest.mark.parametrize("code", SAMPLES)
def test_an_article_is_read_as_a_reader_of_its_language_sees_it(code, tmp_path):
    sample = SAMPLES[code]
    (tmp_path / "d.xml").write_text(dump_of(code, sample), encoding="utf-8")
    article, redirect = WikipediaDumpCorpus(path=str(tmp_path / "d.xml"), minimum_characters=1).read()
    assert isinstance(article, Document)
    assert article.paragraphs == sample.paragraphs
    assert article.dropped == sample.dropped
    assert redirect == Skipped("B", "redirect")


@pytest.mark.parametrize("code", SAMPLES)
def test_the_words_of_every_language_are_known_in_every_wiki(code, tmp_path):
    """A page that was copied from another wiki keeps its words; an old dump states no namespaces."""
    sample = SAMPLES[code]
    (tmp_path / "d.xml").write_text(dump_of("de", sample._replace(spaces=("Datei", "Kategorie"))), encoding="utf-8")
    article, redirect = WikipediaDumpCorpus(path=str(tmp_path / "d.xml"), minimum_characters=1).read()
    assert isinstance(article, Document)
    assert article.paragraphs == sample.paragraphs
    assert redirect == Skipped("B", "redirect")
