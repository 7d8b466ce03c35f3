"""Works in English."""

from __future__ import annotations

from typing import Final

from sync_pipeline.sample.vocabulary.line import (
    ACME,
    ACME_AND_GLOBEX,
    GLOBAL,
    GLOBEX,
    Line,
    work,
)

GROUND_AND_STRUCTURE: Final[tuple[Line, ...]] = (
    work(
        "W-EX",
        "Excavation of {what} in {soil}",
        category="Earthworks",
        unit="m3",
        price="14.00",
        owners=GLOBAL,
        what="foundation trenches|pits|utility trenches",
        soil="sand|clay|rocky soil",
    ),
    work(
        "W-BF",
        "Backfilling and compacting with {what}",
        category="Earthworks",
        unit="m3",
        price="11.00",
        owners=GLOBAL,
        what="sand|gravel|excavated soil",
    ),
    work(
        "W-RC",
        "Casting reinforced concrete {what}",
        category="Concrete works",
        unit="m3",
        price="88.00",
        owners=GLOBAL,
        what="strip foundations|ground slabs|walls|columns|beams|floor slabs|stairs",
    ),
    work(
        "W-FW",
        "Formwork for {what}, erecting and striking",
        category="Concrete works",
        unit="m2",
        price="26.00",
        owners=GLOBAL,
        what="foundations|walls|columns|slabs",
    ),
    work(
        "W-RB",
        "Placing and tying reinforcement of {what}",
        category="Concrete works",
        unit="t",
        price="410.00",
        owners=GLOBAL,
        what="foundations|walls|slabs",
    ),
    work(
        "W-MA",
        "Laying {what}",
        category="Masonry",
        unit="m2",
        price="38.00",
        owners=GLOBAL,
        what="brick walls, one brick thick|brick walls, half a brick thick|facing bricks|"
        "aerated concrete blocks 200 mm|aerated concrete blocks 375 mm|hollow concrete blocks",
    ),
    work(
        "W-DM",
        "Demolition of {what}",
        category="Demolition",
        unit="m2",
        price="9.00",
        owners=ACME_AND_GLOBEX,
        what="brick partitions|plasterboard partitions|floor tiles with adhesive|"
        "suspended ceilings|concrete screed|wall plaster",
    ),
    work(
        "W-TF",
        "Erecting timber {what}",
        category="Carpentry",
        unit="m2",
        price="42.00",
        owners=ACME,
        what="frame walls|roof trusses|rafter roofs|terraces|pergolas",
    ),
    work(
        "W-HR",
        "Restoration of {what}",
        category="Heritage restoration",
        unit="m2",
        price="95.00",
        owners=ACME,
        what="lime plaster on historic walls|stucco cornices|sandstone facades|"
        "leaded stained glass windows|thatched roofs",
    ),
)

FINISHING: Final[tuple[Line, ...]] = (
    work(
        "W-PL",
        "{how} plastering of {what}",
        category="Plastering",
        unit="m2",
        price="13.00",
        owners=GLOBAL,
        how="Manual|Machine",
        what="walls with gypsum plaster|ceilings with gypsum plaster|walls with cement plaster|"
        "facades|window reveals",
    ),
    work(
        "W-SK",
        "Skim coating and sanding of {what}, {quality}",
        category="Plastering",
        unit="m2",
        price="8.00",
        owners=GLOBAL,
        what="walls|ceilings|plasterboard joints",
        quality="for wallpaper|for paint",
    ),
    work(
        "W-PA",
        "Painting of {what}, {coats}",
        category="Painting",
        unit="m2",
        price="6.50",
        owners=GLOBAL,
        what="walls|ceilings|facades|wooden windows and doors|metal railings",
        coats="one coat|two coats",
    ),
    work(
        "W-TL",
        "Laying {what}",
        category="Tiling",
        unit="m2",
        price="32.00",
        owners=GLOBAL,
        what="ceramic wall tiles|porcelain floor tiles|large-format tiles 600x1200 mm|"
        "glass mosaic|tiles on stairs|tiles diagonally",
    ),
    work(
        "W-GR",
        "Grouting of {what}",
        category="Tiling",
        unit="m2",
        price="5.00",
        owners=ACME_AND_GLOBEX,
        what="wall tiles|floor tiles|mosaic",
    ),
    work(
        "W-SC",
        "{what}",
        category="Floors",
        unit="m2",
        price="15.00",
        owners=GLOBAL,
        what="Cement-sand screed up to 50 mm|Cement-sand screed up to 100 mm|"
        "Self-levelling screed up to 10 mm|Dry screed with gypsum boards|"
        "Floor sanding and varnishing|Installing laminate flooring|Laying parquet boards|"
        "Laying carpet|Fitting skirting boards|Laying vinyl planks",
    ),
    work(
        "W-DW",
        "Installing {what}",
        category="Drywall works",
        unit="m2",
        price="24.00",
        owners=GLOBAL,
        what="plasterboard partitions, one layer|plasterboard partitions, two layers|"
        "plasterboard wall lining|plasterboard suspended ceilings|mineral fibre ceilings|"
        "boxing around pipes",
    ),
    work(
        "W-WP",
        "Hanging {what}",
        category="Wall coverings",
        unit="m2",
        price="9.00",
        owners=ACME_AND_GLOBEX,
        what="non-woven wallpaper|vinyl wallpaper|fibreglass wallpaper|photo wallpaper",
    ),
)

SERVICES: Final[tuple[Line, ...]] = (
    work(
        "W-EL",
        "Installing {what}",
        category="Electrical works",
        unit="pcs",
        price="18.00",
        owners=GLOBAL,
        what="an electrical point in brickwork|an electrical point in plasterboard|a socket|"
        "a light switch|a recessed downlight|a chandelier|a circuit breaker|"
        "a residual current device|a distribution board up to 24 modules|a doorbell",
    ),
    work(
        "W-CB",
        "Laying cable {where}",
        category="Electrical works",
        unit="m",
        price="2.80",
        owners=GLOBAL,
        where="in corrugated conduit|in wall chases|in cable trays|in the ground",
    ),
    work(
        "W-EV",
        "{what}",
        category="Electric vehicle charging",
        unit="pcs",
        price="260.00",
        owners=GLOBEX,
        what="Installing a wall charging station 11 kW|Installing a wall charging station 22 kW|"
        "Load management for a garage with charging stations|Commissioning of a home battery",
    ),
    work(
        "W-PV",
        "Mounting photovoltaic modules on {what}",
        category="Solar power",
        unit="kWp",
        price="310.00",
        owners=GLOBEX,
        what="pitched tiled roofs|flat roofs|standing seam roofs|facades",
    ),
    work(
        "W-PB",
        "Installing {what}",
        category="Plumbing",
        unit="pcs",
        price="55.00",
        owners=GLOBAL,
        what="a toilet|a wall-hung toilet with frame|a washbasin|a bathtub|a shower enclosure|"
        "a mixer tap|a water heater|a radiator|a water meter|a manifold for underfloor heating",
    ),
    work(
        "W-PP",
        "Laying {what}",
        category="Plumbing",
        unit="m",
        price="7.50",
        owners=GLOBAL,
        what="multilayer water pipes|polypropylene water pipes|copper pipes with soldering|"
        "sewer pipes 50 mm|sewer pipes 110 mm|underfloor heating pipes",
    ),
    work(
        "W-IN",
        "Insulating {what}",
        category="Insulation works",
        unit="m2",
        price="17.00",
        owners=GLOBAL,
        what="facades with stone wool|facades with expanded polystyrene|lofts|pitched roofs|"
        "foundations with extruded polystyrene|pipes",
    ),
    work(
        "W-RF",
        "{what}",
        category="Roofing works",
        unit="m2",
        price="28.00",
        owners=GLOBAL,
        what="Laying concrete roof tiles|Laying metal roof tiles|Torch-on bitumen roofing|"
        "Installing standing seam roofing|Laying shingles|Installing gutters and downpipes|"
        "Repair of flat roof leaks",
    ),
    work(
        "W-WD",
        "Installing {what}",
        category="Windows and doors",
        unit="pcs",
        price="64.00",
        owners=ACME_AND_GLOBEX,
        what="PVC windows|roof windows|interior doors|entrance doors|fire doors|window sills|"
        "garage doors",
    ),
    work(
        "W-GR2",
        "Green roof {what}",
        category="Green roofs",
        unit="m2",
        price="34.00",
        owners=GLOBEX,
        what="build-up, extensive|build-up, intensive|irrigation|yearly maintenance",
    ),
)

WORKS: Final[tuple[Line, ...]] = (*GROUND_AND_STRUCTURE, *FINISHING, *SERVICES)
