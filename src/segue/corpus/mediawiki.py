"""Words of MediaWiki in the languages of the larger Wikipedias, old names too.

Written by hand in November 2026. Names of namespaces were compared with the site information (``namespaces``,
``namespacealiases``) of 96 Wikipedias of December 2021; a dump adds the names of its own namespaces.
The words of all languages count in every wiki: pages are copied from wiki to wiki, and the words are not titles.
"""

from __future__ import annotations

from segue.corpus.prose import names

FILES = names(
    """file; image; media; datei; bild; fichier; archivo; imagen; immagine; ficheiro; arquivo; imagem; bestand;
    afbeelding; plik; grafika; файл; изображение; зображення; выява; картинка; fil; bilde; billede; kuva; tiedosto;
    soubor; súbor; obrázok; obrázek; kép; fájl; fișier; fişier; imagine; slika; datoteka; слика; датотека; податотека;
    εικόνα; αρχείο; resim; dosya; şəkil; fayl; сурет; таспа; tasvir; պատկեր; სურათი; ფაილი; קובץ; תמונה; בילד; טעקע;
    ملف; صورة; پرونده; تصویر; فایل; فائل; وێنە; پەڕگە; चित्र; मीडिया; ছবি; চিত্র; চিত্ৰ; படிமம்; బొమ్మ; దస్త్రం; ఫైలు;
    ചിത്രം; പ്രമാണം; ಚಿತ್ರ; ચિત્ર; ਤਸਵੀਰ; රූපය; ගොනුව; ไฟล์; ภาพ; hình; tập tin; berkas; gambar; barkas; imej; fail;
    talaksan; payl; imahen; paypay; 파일; 그림; ファイル; 画像; 文件; 档案; 檔案; 图像; 圖像; 檔; 档; 圖; 图; fitxer;
    imatge; fitxategi; archivu; taspa; swret; irudi; imaxe; ficheru; imaxen; fichièr; dosiero; imago; fasciculus;
    pilt; attēls; vaizdas; skeda; figura; mynd; íomhá; delwedd; lêer; beeld; restr; skeudenn; faili; picha; зураг;
    рәсем; räsem; акс; ӳкерчĕк; ဖိုင်; រូបភាព; ឯកសារ; ຮູບ; ፋይል; ስዕል; wêne"""
)
"""Names of the namespace of files and of the media links, in lower case."""

CATEGORIES = names(
    """category; kategorie; catégorie; categoría; categoria; categorie; kategoria; категория; категорія; катэгорыя;
    категорија; kategori; luokka; kategória; kategorija; κατηγορία; kateqoriya; санат; sanat; turkum; կատեգորիա;
    კატეგორია; קטגוריה; קאַטעגאָריע; تصنيف; رده; زمرہ; پۆل; श्रेणी; वर्ग; বিষয়শ্রেণী; பகுப்பு; వర్గం; വർഗ്ഗം; ವರ್ಗ;
    શ્રેણી; ਸ਼੍ਰੇਣੀ; ප්‍රවර්ගය; หมวดหมู่; thể loại; kategorya; kategoriya; kaarangay; 분류; カテゴリ; 分类; 分類;
    kategorio; വിഭാഗം; категори; törkem; קאטעגאריע; ចំណាត់ក្រុម; 类; 類; kategooria; flokkur; catagóir; categori;
    rummad; jamii; ангилал; төркем; төркөм; гурӯҳ; ကဏ္ဍ; ចំណាត់ថ្នាក់ក្រុម; ໝວດ; መደብ; kategorî"""
)
"""Names of the namespace of categories, in lower case."""

REDIRECTS = names(
    """redirect; weiterleitung; redirection; redirección; redireccion; rinvia; rinvio; rimando; redirecionamento;
    redirecionar; doorverwijzing; patrz; przekieruj; tam; перенаправление; перенапр; перенаправлення; перанакіраванне;
    перанакіраваньне; omdirigering; ohjaus; uudelleenohjaus; přesměruj; presmeruj; átirányítás; redirecteaza;
    пренасочване; виж; преусмери; preusmjeri; preusmeri; preusmeritev; пренасочување; види; ανακατευθυνση;
    yönlendirme; yönlendir; i̇stiqamətləndirmə; айдау; aýdaw; yoʻnaltirish; վերահղում; გადამისამართება; הפניה;
    ווייטערפירן; تحويل; تغییر مسیر; تغییرمسیر; رجوع مکرر; पुनर्निर्देशन; अनुप्रेषित; পুনর্নির্দেশ; পুনঃনির্দেশ;
    வழிமாற்று; దారిమార్పు; തിരിച്ചുവിടുക; เปลี่ยนทาง; đổi; alih; lencong; 넘겨주기; 転送; リダイレクト; 重定向; 跳转;
    跳轉; redirecció; birzuzendu; alidirektu; suuna; pāradresācija; peradresavimas; ridrejto; tilvísun; athsheoladh;
    ailgyfeirio; aanstuur"""
)
"""Words that begin a redirect, behind ``#``, in lower case; the space is ``_`` too."""

MEDIA_ENDINGS = "jpe?g|jpe|png|gif|svg|tiff?|webp|xcf|pdf|djvu|og[gva]|opus|flac|mp3|mp4|wav|midi?|web[mp]|mpe?g|stl"
"""Pattern of the endings of media files."""

SECTIONS_WITHOUT_PROSE = names(
    """references; notes; notes and references; references and notes; footnotes; citations; sources; works cited;
    bibliography; further reading; external links; see also; gallery; literature; references and sources;
    einzelnachweise; siehe auch; literatur; weblinks; anmerkungen; quellen; belege; fußnoten;
    einzelnachweise und anmerkungen; références; notes et références; voir aussi; liens externes; bibliographie;
    articles connexes; annexes; lien externe; referencias; véase también; enlaces externos; bibliografía; notas; note;
    voci correlate; collegamenti esterni; bibliografia; altri progetti; referências; ver também; ligações externas;
    referenties; zie ook; externe links; notas e referências; notas y referencias; bronnen, noten en/of referenties;
    przypisy; linki zewnętrzne; zobacz też; uwagi; referenser; källor; externa länkar; se även; noter;
    eksterne lenker; eksterne henvisninger; se også; referanser; kilder; lähteet; aiheesta muualla; katso myös;
    externí odkazy; související články; jegyzetek; források; további információk; legături externe; vezi și;
    referències; enllaços externs; vegeu també; kaynakça; dış bağlantılar; ayrıca bakınız; tham khảo; liên kết ngoài;
    xem thêm; chú thích; referensi; pranala luar; lihat pula; rujukan; pautan luar; примечания; см. также; ссылки;
    литература; источники; примітки; посилання; література; див. також; джерела; източници; външни препратки;
    вижте също; референце; спољашње везе; види још; παραπομπές; εξωτερικοί σύνδεσμοι; 脚注; 出典; 注釈; 注釈・出典;
    関連項目; 外部リンク; 参考文献; 関連文献; 参考资料; 參考資料; 參考文獻; 外部链接; 外部連結; 参见; 參見; 参看;
    注释; 註釋; 延伸阅读; 延伸閱讀; 相关条目; 相關條目; 각주; 같이 보기; 외부 링크; 참고 문헌; 관련 항목; مراجع;
    المراجع; مصادر; المصادر; هوامش; ملاحظات; وصلات خارجية; روابط خارجية; انظر أيضًا; انظر أيضا; اقرأ أيضا; منابع;
    پانویس; پیوند به بیرون; جستارهای وابسته; הערות שוליים; קישורים חיצוניים; ראו גם; לקריאה נוספת; सन्दर्भ; संदर्भ;
    बाहरी कड़ियाँ; बाहरी कड़ियां; इन्हें भी देखें; यह भी देखें; टिप्पणी; तथ्यसूत्र; তথ্যসূত্র; বহিঃসংযোগ; আরও দেখুন;
    อ้างอิง; แหล่งข้อมูลอื่น; ดูเพิ่ม; เชิงอรรถ; รายการอ้างอิง; หมายเหตุ; บรรณานุกรม"""
)
"""Titles of sections of references and links, in lower case."""
